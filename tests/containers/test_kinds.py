from __future__ import annotations

import io
import zipfile

import pytest

from sanderling.containers import kinds


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "text/csv"),
        ("A.CSV", "text/csv"),
        ("a.tar.gz", "application/gzip"),
        (
            "a.xlsx",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        ("csv", None),
        (".csv", None),
        ("a.unheard-of", None),
    ],
)
def test_name_says_what_a_file_is(name: str, kind: str | None):
    assert kinds.by_name(name) == kind


def _zip() -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a", "b")
        return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (_zip(), "application/zip"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0????", "application/octet-stream"),
        ("naïve\r\n".encode(), "text/plain"),
        (("é" * kinds.HEAD_BYTES).encode()[: kinds.HEAD_BYTES - 1], "text/plain"),
        (b"<script>alert(1)</script>", "text/plain"),
        (b"a\0b", "application/octet-stream"),
        (b"\xff\xfea", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_first_bytes_say_what_a_file_is_whose_name_does_not(head: bytes, kind: str):
    assert kinds.by_head(head) == kind
