from __future__ import annotations

import pytest

from sanderling.containers.aliases import ALIASES_MAX, aliases, mentions_ids
from sanderling.records import ContainerFile

ID = "file-abcDEF0123456789abcdef"
CFILE = "cfile_" + "0f" * 16


def file(path: str, id: str = CFILE, origin_id: str | None = ID) -> ContainerFile:
    return ContainerFile(id, "cntr_a", f"/mnt/data/{path}", 1, 0.0, "user", "blob_a", origin_id)


FILES = [
    file("a b.tar.gz"),
    file("second.csv", "cfile_" + "1" * 32),
    file("README", "cfile_" + "2" * 32, "file-2"),
]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (f"open('/mnt/data/{ID}')", [ID]),
        (f"!head /mnt/data/{CFILE}", [CFILE]),
        (f"open('/mnt/data/{ID}.gz')", [f"{ID}.gz"]),
        (f"open('/mnt/data/{ID}.tar.gz')", [f"{ID}.tar.gz"]),
        (f"i = '{ID}'; open(f'/mnt/data/{{i}}.gz')", [ID, f"{ID}.gz"]),
        (f"i = '{ID}'; open('/mnt/data/' + i + '.gz')", [ID, f"{ID}.gz"]),
        # Not what is to be found once: nor another extension, which is a file to be made.
        (f"glob('*.gz'); open('{ID}')", [ID]),
        (f"to_csv('/mnt/data/{ID}.csv')", [ID]),
        (f"i = '{ID}'; [n for n in os.listdir('.') if n.endswith('.gz')]", [ID]),
        ("open('file-2.csv')", ["file-2"]),
        (f"{ID}x", []),
        ("file-3", []),
        ("cfile_00", []),
        ("x = 1", []),
    ],
)
def test_an_id_in_the_code_becomes_a_name_of_its_file(code: str, names: list[str]):
    found = aliases(code, FILES)

    assert [path.removeprefix("/mnt/data/") for path, _ in found] == names
    assert mentions_ids(code) or not names


def test_the_first_copy_of_a_file_is_what_its_id_means():
    assert aliases(ID, FILES) == [(f"/mnt/data/{ID}", "/mnt/data/a b.tar.gz")]


def test_a_file_that_is_called_like_its_id_needs_no_other_name():
    assert aliases(ID, [file(ID)]) == []


def test_no_more_names_are_made_than_code_needs():
    many = [file(f"{n}", f"cfile_{n:032x}", f"file-{n}") for n in range(200)]
    assert len(aliases(" ".join(f"file-{n}" for n in range(200)), many)) == ALIASES_MAX
