from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.containers.names import NAME_BYTES_MAX, free_name, is_clean_path, safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sales.csv", "sales.csv"),
        ("my sales (1).csv", "my sales (1).csv"),
        ("données été.csv", "données été.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\sales.csv", "sales.csv"),
        ("/absolute/path/photo.png", "photo.png"),
        ("a\0b\nc.csv", "abc.csv"),
        ("\u202egpj.exe", "gpj.exe"),
        (" padded.csv ", "padded.csv"),
        (".hidden", ".hidden"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("...", "file"),
        ("folder/", "file"),
        ("\u200b\u200b", "file"),
        ("\u200d\u200c", "file"),
        ("nai\u0308ve.csv", "nai\u0308ve.csv"),
        ("👩\u200d💻.csv", "👩\u200d💻.csv"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
    ],
)
def test_name_becomes_one_safe_path_component(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_fallback_stands_in_for_a_name_of_which_nothing_is_left() -> None:
    assert safe_name("\n", fallback="figure") == "figure"


def test_overlong_name_is_cut_and_keeps_its_extension() -> None:
    cut = safe_name("é" * 300 + ".csv")

    assert cut.endswith("é.csv")
    assert len(cut.encode()) <= NAME_BYTES_MAX


@given(st.text())
def test_any_name_is_safe_and_safe_names_stay_as_they_are(name: str) -> None:
    safe = safe_name(name)

    assert is_clean_path("/mnt/data/" + safe)
    assert "/" not in safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("a.csv", set(), "a.csv"),
        ("a.csv", {"a.csv"}, "a_1.csv"),
        ("a.csv", {"a.csv", "a_1.csv"}, "a_2.csv"),
        ("README", {"README"}, "README_1"),
        ("a.tar.gz", {"a.tar.gz"}, "a.tar_1.gz"),
    ],
)
def test_taken_name_gets_the_next_free_number(name: str, taken: set[str], expected: str) -> None:
    assert free_name(name, taken) == expected


def test_numbered_name_is_not_longer_than_a_name_may_be() -> None:
    longest = "x" * 251 + ".csv"

    numbered = free_name(longest, {longest})

    assert numbered.endswith("x_1.csv")
    assert len(numbered) == NAME_BYTES_MAX


@pytest.mark.parametrize(
    "path",
    [
        "/mnt/data",
        "/mnt/data/",
        "/mnt/data/../x",
        "/mnt/data/a/./b",
        "/mnt/data//a",
        "/etc/passwd",
        "/mnt/database/x",
        "mnt/data/x",
        "/mnt/data/a\0b",
        "/mnt/data/\udc80",
        "/mnt/data/" + "x" * 256,
        "/mnt/data" + "/y" * 2100,
    ],
)
def test_path_with_tricks_in_it_is_not_clean(path: str) -> None:
    assert not is_clean_path(path)


@pytest.mark.parametrize(
    "path", ["/mnt/data/a", "/mnt/data/out/été.csv", "/mnt/data/.x", "/mnt/data/..."]
)
def test_plain_path_below_the_mount_is_clean(path: str) -> None:
    assert is_clean_path(path)
