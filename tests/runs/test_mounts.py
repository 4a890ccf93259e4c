from __future__ import annotations

from sanderling.records import ContainerFile, StoredFile
from sanderling.runs.mounts import FileSet, Mount, plan


def stored(*names: str) -> dict[str, StoredFile]:
    """Return stored files with the ids file-1, file-2, …"""
    return {
        f"file-{n}": StoredFile(f"file-{n}", "org_a", name, "user_data", 1, 0.0, f"blob_{n}")
        for n, name in enumerate(names, 1)
    }


def existing(path: str, blob_id: str) -> ContainerFile:
    return ContainerFile("cfile_1", "cntr_1", f"/mnt/data/{path}", 1, 0.0, "user", blob_id)


def test_files_without_a_container_are_all_to_be_mounted_under_their_names() -> None:
    sets = [FileSet(("file-1", "file-2"), None), FileSet(("file-2", "file-3"), None)]

    mounts = plan(sets, stored=stored("a.csv", "a.csv", "../b.csv"), container_id=None, existing=[])

    assert mounts == (
        Mount("file-1", "a.csv", is_done=False),
        Mount("file-2", "a_1.csv", is_done=False),
        Mount("file-3", "b.csv", is_done=False),
    )


def test_files_of_runs_up_to_the_one_that_used_the_container_are_done() -> None:
    sets = [
        FileSet(("file-1",), None),
        FileSet(("file-2",), "cntr_1"),
        FileSet(("file-3",), None),
        FileSet(("file-4",), None),
    ]

    mounts = plan(
        sets,
        stored=stored("a.csv", "b.csv", "c.csv", "d.csv"),
        container_id="cntr_1",
        existing=[],
    )

    assert [mount.is_done for mount in mounts] == [True, True, False, False]


def test_in_a_new_container_nothing_is_done() -> None:
    sets = [FileSet(("file-1",), "cntr_old"), FileSet((), None)]

    mounts = plan(sets, stored=stored("a.csv"), container_id="cntr_new", existing=[])

    assert mounts == (Mount("file-1", "a.csv", is_done=False),)


def test_file_that_is_in_the_container_already_keeps_the_name_it_has_there() -> None:
    mounts = plan(
        [FileSet(("file-1",), None)],
        stored=stored("a.csv"),
        container_id="cntr_1",
        existing=[existing("a_7.csv", "blob_1")],
    )

    assert mounts == (Mount("file-1", "a_7.csv", is_done=True),)


def test_new_file_does_not_take_the_name_of_one_that_code_made() -> None:
    mounts = plan(
        [FileSet(("file-1",), None)],
        stored=stored("a.csv"),
        container_id="cntr_1",
        existing=[existing("a.csv", "blob_of_the_code")],
    )

    assert mounts == (Mount("file-1", "a_1.csv", is_done=False),)


def test_file_that_code_changed_is_still_known_by_its_name() -> None:
    mounts = plan(
        [FileSet(("file-1",), "cntr_1"), FileSet((), None)],
        stored=stored("a.csv"),
        container_id="cntr_1",
        existing=[existing("a.csv", "blob_of_the_code")],
    )

    assert mounts == (Mount("file-1", "a.csv", is_done=True),)


def test_deleted_file_is_left_out() -> None:
    assert plan(
        [FileSet(("file-9", "file-1"), None)],
        stored=stored("a.csv"),
        container_id=None,
        existing=[],
    ) == (Mount("file-1", "a.csv", is_done=False),)
