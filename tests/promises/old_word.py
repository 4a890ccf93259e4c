"""
Documents of Word 97 to 2003, which no library of Python writes: text, its pieces and one style.

After the specifications [MS-CFB] and [MS-DOC]; without fonts and sections, so for what reads text,
not for Word itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_SECTOR = 512
_STREAM_MIN = 4096  # a smaller one belongs into the mini FAT
_FREE, _END, _FAT_SECTOR, _NOBODY = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
_RED, _BLACK = 0, 1
_STORAGE_ROOT, _STREAM = 5, 2

_TEXT_AT = 1024  # behind the FIB
_STYLES, _CLX = 1, 33  # which pair of place and size in the FIB is theirs
_CODE_PAGE_1252 = 0x40000000  # of a piece: one byte a character, and its place is doubled


def word_document(*paragraphs: str) -> bytes:
    """Return a document; each paragraph is one piece, in cp1252 where that has its characters."""
    text, places, ends = b"", [], [0]
    for paragraph in paragraphs:
        piece = paragraph + "\r"
        try:
            data, is_1252 = piece.encode("cp1252"), True
        except UnicodeEncodeError:
            data, is_1252 = piece.encode("utf-16-le"), False
            text += b"\0" * (len(text) % 2)
        place = _TEXT_AT + len(text)
        places.append(place * 2 | _CODE_PAGE_1252 if is_1252 else place)
        ends.append(ends[-1] + len(piece))
        text += data
    table = struct.pack(f"<{len(ends)}I", *ends)
    table += b"".join(struct.pack("<HIH", 0, place, 0) for place in places)
    clx = struct.pack("<BI", 2, len(table)) + table
    styles = _styles()
    tables = {_STYLES: (0, len(styles)), _CLX: (len(styles), len(clx))}
    fib = _fib(text_end=_TEXT_AT + len(text), characters=ends[-1], tables=tables)
    document = fib.ljust(_TEXT_AT, b"\0") + text
    return _compound_file({"WordDocument": document, "1Table": styles + clx})


def _styles() -> bytes:
    """Return a style sheet: the style of a paragraph, and the other 14 that have to be counted."""
    paragraph, nothing, count, base_bytes = 1, 0xFFF, 15, 10
    head = struct.pack("<10H", 18, count, base_bytes, 1, 91, count, 0, 0, 0, 0)
    name = struct.pack("<H", len("Normal")) + "Normal\0".encode("utf-16-le")
    properties = struct.pack("<HHH", 2, 0, 0)  # of the paragraph: its style; of the text: none
    style_bytes = base_bytes + len(name) + len(properties)
    base = struct.pack("<5H", 0, paragraph | nothing << 4, 2, style_bytes, 0)
    style = struct.pack("<H", style_bytes) + base + name + properties
    return head + style + bytes(2 * (count - 1))


def _fib(*, text_end: int, characters: int, tables: Mapping[int, tuple[int, int]]) -> bytes:
    # Saved once more in a hurry, or readers take pieces for runs of whole sectors.
    german, quickly, in_1table, extended = 0x0407, 0x0014, 0x0200, 0x1000
    base = struct.pack(
        "<6HHIBBHHII",
        *(0xA5EC, 0x00C1, 0, german, 0, quickly | in_1table | extended),
        *(0x00BF, 0, 0, 0, 0, 0, _TEXT_AT, text_end),
    )
    words = struct.pack("<H14H", 14, *[0] * 13, german)
    stream_end = max(text_end, _STREAM_MIN)
    longs = struct.pack("<H22I", 22, stream_end, 0, 0, characters, *[0] * 18)
    pairs = b"".join(struct.pack("<II", *tables.get(which, (0, 0))) for which in range(93))
    return base + words + longs + struct.pack("<H", 93) + pairs + b"\0\0"


def _compound_file(streams: Mapping[str, bytes]) -> bytes:
    """Return a file: a sector of FAT, one of directory, two streams, the longer name first."""
    fat, body = [_FAT_SECTOR, _END], b""
    (long, long_data), (short, short_data) = streams.items()
    nobody, left = (_NOBODY, _NOBODY, _NOBODY), (2, _NOBODY, _NOBODY)
    directory = _entry("Root Entry", _STORAGE_ROOT, _BLACK, (_NOBODY, _NOBODY, 1), _END, 0)
    for name, data, color, family in (
        (long, long_data, _BLACK, left),
        (short, short_data, _RED, nobody),
    ):
        padded = data.ljust(_STREAM_MIN, b"\0")
        start, count = len(fat), -(-len(padded) // _SECTOR)
        fat += [*range(start + 1, start + count), _END]
        directory += _entry(name, _STREAM, color, family, start, len(padded))
        body += padded.ljust(count * _SECTOR, b"\0")
    directory += _entry("", 0, _RED, nobody, 0, 0)
    entries = _SECTOR // 4
    assert len(fat) <= entries, "one sector of FAT is 64 KiB of file"
    fat += [_FREE] * (entries - len(fat))
    header = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16)
    header += struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9I", 0, 1, 1, 0, _STREAM_MIN, _END, 0, _END, 0)
    header += struct.pack("<109I", 0, *[_FREE] * 108)
    return header + struct.pack(f"<{entries}I", *fat) + directory + body


def _entry(
    name: str, kind: int, color: int, family: tuple[int, int, int], start: int, size: int
) -> bytes:
    """Return an entry of the directory; family: those to its left and right, and its child."""
    spelled = (name + "\0").encode("utf-16-le") if name else b""
    head = struct.pack("<64sHBB3I", spelled, len(spelled), kind, color, *family)
    return head + bytes(36) + struct.pack("<IQ", start, size)
