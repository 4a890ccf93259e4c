from __future__ import annotations

import pytest

from sanderling.containers import collecting
from sanderling.containers.boxes import VARIABLES_GONE
from sanderling.containers.happenings import OutputAppeared
from sanderling.containers.registry import Containers
from sanderling.errors import StorageFull
from sanderling.records import (
    ErrorOutput,
    Execution,
    ImageOutput,
    LogsOutput,
    ResultOutput,
)
from sanderling.store.store import Store
from tests.containers.makers import (
    ORG,
    content,
    everything,
    execute,
    make_blob,
    make_stored_file,
    names,
    until_output,
)
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_sandbox import MemorySandbox

PNG = "data:image/png;base64,UE5H"


async def test_outputs_come_as_they_happen_and_are_recorded_merged(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")
    code = "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')\n6 * 7"

    *appeared, execution = await everything(containers, container, code)

    assert appeared == [
        OutputAppeared(0, LogsOutput("stdout", "a")),
        OutputAppeared(0, LogsOutput("stdout", "\n")),
        OutputAppeared(1, LogsOutput("stderr", "b")),
        OutputAppeared(1, LogsOutput("stderr", "\n")),
        OutputAppeared(2, LogsOutput("stdout", "c")),
        OutputAppeared(2, LogsOutput("stdout", "\n")),
        OutputAppeared(3, ResultOutput("42")),
    ]
    assert isinstance(execution, Execution)
    assert execution == Execution(
        id=execution.id,
        container_id=container.id,
        status="ok",
        outputs=(
            LogsOutput("stdout", "a\n"),
            LogsOutput("stderr", "b\n"),
            LogsOutput("stdout", "c\n"),
            ResultOutput("42"),
        ),
        artifacts=(),
        duration_ms=1.0,
        notice=None,
    )


async def test_code_that_raises_is_an_execution_with_an_error_output(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")

    execution = await execute(containers, container, "1 / 0")

    assert execution.status == "error"
    [error] = execution.outputs
    assert isinstance(error, ErrorOutput)
    assert (error.name, error.message) == ("ZeroDivisionError", "division by zero")


async def test_limit_hit_is_said_in_the_output_and_in_the_notice(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    code = "import asyncio; print('on', end=''); await asyncio.sleep(60)"

    execution = await execute(containers, container, code, timeout_s=0.01)

    assert execution.status == "timed_out"
    assert execution.notice == "The code ran longer than 0.01 s."
    assert execution.outputs == (
        LogsOutput("stdout", "on"),
        LogsOutput("stderr", "\nThe code ran longer than 0.01 s.\n"),
    )


async def test_made_and_changed_files_become_artifacts_and_keep_their_id(
    containers: Containers, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")

    first = await execute(containers, container, "save('a.txt', 'one')")
    clock.advance(seconds=5)
    second = await execute(containers, container, "save('a.txt', 'second')")
    third = await execute(containers, container, "1")

    [made], [changed] = first.artifacts, second.artifacts
    assert (made.path, made.filename, made.bytes) == ("/mnt/data/a.txt", "a.txt", 3)
    assert (changed.file_id, changed.bytes) == (made.file_id, 6)
    assert third.artifacts == ()
    assert await content(containers, container, "/mnt/data/a.txt") == b"second"
    [file] = await containers.all_files(container.id)
    assert file.source == "assistant"


async def test_replaced_bytes_are_let_go(containers: Containers, store: Store) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a.txt', 'one')")
    [before] = await containers.all_files(container.id)

    await execute(containers, container, "save('a.txt', 'two!')")

    assert not store.blobs.path(before.blob_id).exists()


async def test_file_in_a_folder_keeps_its_path(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    code = "import os\nos.makedirs('/mnt/data/out')\nsave('out/a.txt', 'x')"

    execution = await execute(containers, container, code)

    [artifact] = execution.artifacts
    assert (artifact.path, artifact.filename) == ("/mnt/data/out/a.txt", "a.txt")


async def test_removed_file_is_removed_from_the_records(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a.txt', 'x')")

    await execute(containers, container, "import os; os.remove('/mnt/data/a.txt')")

    assert await names(containers, container) == []


async def test_file_too_large_to_keep_is_left_out_and_mentioned(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    code = "save('big.bin', 'x' * 10_001); save('ok.bin', 'x' * 10_000)"

    execution = await execute(containers, container, code)

    assert [artifact.filename for artifact in execution.artifacts] == ["ok.bin"]
    assert execution.status == "ok"
    assert execution.notice == "Too large to be downloaded: /mnt/data/big.bin."


async def test_no_more_files_are_kept_than_somebody_would_download(
    containers: Containers, monkeypatch: object
) -> None:
    container = await containers.create(ORG, name="x")
    monkeypatch.setattr(collecting, "FILES_PER_EXECUTION_MAX", 2)  # type: ignore[attr-defined]

    execution = await execute(containers, container, "for i in range(3): save(f'{i}.txt', 'x')")

    assert [artifact.filename for artifact in execution.artifacts] == ["0.txt", "1.txt"]
    assert execution.notice is not None
    assert execution.notice.startswith("3 files were made or changed; only the first 2 can be")


async def test_a_renamed_folder_of_more_files_than_are_kept_leaves_no_record_behind(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await containers.create(ORG, name="x")
    monkeypatch.setattr(collecting, "FILES_PER_EXECUTION_MAX", 2)
    make = "import os; os.mkdir('/mnt/data/d')\n"
    await execute(containers, container, make + "save('d/0', 'x'); save('d/1', 'x')")
    await execute(containers, container, "save('d/2', 'x')")

    execution = await execute(containers, container, "os.rename('/mnt/data/d', '/mnt/data/e')")

    told = [(artifact.path, artifact.change) for artifact in execution.artifacts]
    assert told == [
        ("/mnt/data/e/0", "renamed"),
        ("/mnt/data/e/1", "renamed"),
        ("/mnt/data/d/2", "deleted"),
    ]
    assert await names(containers, container) == ["e/0", "e/1"]


async def test_a_renamed_file_is_not_stored_again(containers: Containers) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a', 'one')")
    [before] = await containers.all_files(container.id)
    await execute(containers, container, "import os; os.rename('/mnt/data/a', '/mnt/data/b')")
    [moved] = await containers.all_files(container.id)
    await execute(containers, container, "save('b', 'one')")
    [same] = await containers.all_files(container.id)
    await execute(containers, container, "save('b', 'two')")
    [other] = await containers.all_files(container.id)

    assert (moved.id, moved.path) == (before.id, "/mnt/data/b")
    assert [moved.blob_id, same.blob_id] == [before.blob_id] * 2
    assert (other.id, other.blob_id == before.blob_id) == (before.id, False)


async def test_a_renamed_file_that_could_not_be_kept_is_kept_under_its_new_name(
    containers: Containers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "save('a', 'one')")

    async def full(*_: object, **__: object) -> None:
        raise StorageFull

    with monkeypatch.context() as patch:
        patch.setattr(store.container_files, "move", full)
        unkept = await execute(
            containers, container, "import os; os.rename('/mnt/data/a', '/mnt/data/b')"
        )
    after = await execute(containers, container, "1")

    assert unkept.artifacts == ()
    assert sorted((a.path, a.change) for a in after.artifacts) == [
        ("/mnt/data/a", "deleted"),
        ("/mnt/data/b", "created"),
    ]
    assert await names(containers, container) == ["b"]


async def test_an_upload_that_code_changed_is_still_known_by_the_id_of_the_upload(
    containers: Containers, store: Store, sandbox: MemorySandbox
) -> None:
    stored = await make_stored_file(store, b"1")
    container = await containers.create(ORG, name="x", file_ids=[stored.id])
    await execute(containers, container, "save('sales.csv', '22')")
    sandbox.lose_boxes()

    execution = await execute(containers, container, f"load('{stored.id}')")

    assert [o.text for o in execution.outputs if isinstance(o, ResultOutput)] == ["'22'"]
    assert execution.artifacts == ()
    assert await names(containers, container) == ["sales.csv"]


async def test_user_file_added_while_code_runs_is_no_artifact(
    containers: Containers, store: Store
) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "import asyncio; print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)
    blob_id = await make_blob(store, b"late")
    await containers.add_blob(ORG, container.id, filename="late.txt", blob_id=blob_id, bytes=4)
    await containers.interrupt(ORG, container.id, "exec_1")

    execution = [happening async for happening in happenings][-1]

    assert isinstance(execution, Execution)
    assert execution.artifacts == ()
    [file] = await containers.all_files(container.id)
    assert file.source == "user"


# ---- pictures ----------------------------------------------------------------------------------


async def test_shown_picture_becomes_a_file_in_box_record_and_output(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")

    [appeared, execution] = await everything(containers, container, "show(b'PNG')")

    [file] = await containers.all_files(container.id)
    image = ImageOutput(PNG, file.id, "/mnt/data/figure_1.png")
    assert appeared == OutputAppeared(0, image)
    assert isinstance(execution, Execution)
    assert execution.outputs == (image,)
    assert [artifact.file_id for artifact in execution.artifacts] == [file.id]
    assert file.path == "/mnt/data/figure_1.png"
    assert sandbox.content(container.id, file.path) == b"PNG"
    assert await content(containers, container, file.path) == b"PNG"


async def test_pictures_never_take_the_name_of_another_file(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    code = "save('figure_1.png', 'mine'); show(b'PNG'); show(b'PNG2')"

    execution = await execute(containers, container, code)

    assert await names(containers, container) == [
        "figure_1.png",
        "figure_1_1.png",
        "figure_1_2.png",
    ]
    assert sandbox.content(container.id, "/mnt/data/figure_1.png") == b"mine"
    assert len(execution.artifacts) == 3


async def test_picture_that_the_code_saved_is_that_file_and_not_another(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")
    code = "save('chart.png', b'SAVED'); show(b'PNG', saved_path='/mnt/data/chart.png')"

    execution = await execute(containers, container, code)

    [file] = await containers.all_files(container.id)
    assert file.path == "/mnt/data/chart.png"
    assert execution.outputs[-1] == ImageOutput(PNG, file.id, file.path)
    assert [artifact.path for artifact in execution.artifacts] == [file.path]
    assert await content(containers, container, file.path) == b"SAVED"


async def test_saved_path_that_is_a_lie_is_not_believed(containers: Containers) -> None:
    for lie in ("/mnt/data/none.png", "/etc/passwd", "/mnt/data/../../etc/passwd"):
        container = await containers.create(ORG, name="x")

        execution = await execute(containers, container, f"show(b'PNG', saved_path={lie!r})")

        assert execution.outputs == (
            ImageOutput(PNG, execution.artifacts[0].file_id, "/mnt/data/figure_1.png"),
        )


async def test_picture_gets_a_safe_name_with_the_suffix_of_its_type(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")
    code = (
        "show(b'PNG', name='../../Revenue by region')\n"
        "show(b'JPG', name='photo.jpeg', mime='image/jpeg')\n"
        "show(b'PNG', name='x.exe')"
    )

    await execute(containers, container, code)

    assert await names(containers, container) == [
        "Revenue by region.png",
        "photo.jpeg",
        "x.exe.png",
    ]


async def test_picture_is_kept_though_the_box_has_no_room_for_it(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    sandbox.room_bytes = 2

    execution = await execute(containers, container, "show(b'PNG')")

    assert execution.status == "ok"
    assert await content(containers, container, "/mnt/data/figure_1.png") == b"PNG"


# ---- boxes that go -----------------------------------------------------------------------------


async def test_lost_box_is_made_again_with_all_files_and_the_loss_of_variables_is_told(
    containers: Containers, sandbox: MemorySandbox, store: Store
) -> None:
    file = await make_stored_file(store, b"given")
    container = await containers.create(ORG, name="x", file_ids=[file.id])
    await execute(containers, container, "x = 1; save('a.txt', 'made')")
    sandbox.lose_boxes()

    execution = await execute(containers, container, "'x' in globals()")

    assert execution.outputs[0] == ResultOutput("False")
    assert execution.notice == VARIABLES_GONE
    assert sandbox.paths(container.id) == ["/mnt/data/a.txt", "/mnt/data/sales.csv"]
    again = await execute(containers, container, "1")
    assert again.notice is None


async def test_nothing_is_said_of_variables_when_no_code_ever_ran(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    containers.prepare(container)
    await containers.close()
    sandbox.lose_boxes()

    assert (await execute(containers, container, "1")).notice is None


async def test_after_a_restart_of_server_and_host_files_are_back_and_variables_gone(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "x = 1; save('a.txt', 'made')")
    sandbox.lose_boxes()
    clock.advance(seconds=10)
    restarted = Containers(store, sandbox, clock)

    execution = await execute(restarted, container, "load('a.txt')")

    assert execution.outputs[0] == ResultOutput("'made'")
    assert execution.notice == VARIABLES_GONE
    await restarted.close()


async def test_uploaded_file_that_code_changes_while_it_is_new_is_kept_as_code_left_it(
    containers: Containers, store: Store, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "import asyncio; go = asyncio.Event()")
    happenings = containers.execute(
        container, "print(1); await go.wait(); save('a.txt', 'new')", execution_id="e", timeout_s=9
    )
    await until_output(happenings)
    for name, data in (("a.txt", b"old"), ("b.txt", b"two")):
        blob_id = await make_blob(store, data)
        await containers.add_blob(ORG, container.id, filename=name, blob_id=blob_id, bytes=3)
    sandbox.variables(container.id)["go"].set()

    *_, ended = [happening async for happening in happenings]

    assert isinstance(ended, Execution)
    assert [artifact.filename for artifact in ended.artifacts] == ["a.txt"]
    assert await content(containers, container, "/mnt/data/a.txt") == b"new"


async def test_after_a_restart_of_the_server_alone_variables_are_still_there(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    container = await containers.create(ORG, name="x")
    await execute(containers, container, "x = 41; save('a.txt', 'made')")
    clock.advance(seconds=10)
    restarted = Containers(store, sandbox, clock)

    execution = await execute(restarted, container, "x + 1")

    assert execution.outputs == (ResultOutput("42"),)
    assert execution.notice is None
    await restarted.close()


async def test_box_that_a_killed_server_left_half_filled_is_filled_up(
    containers: Containers, store: Store, sandbox: MemorySandbox, clock: FakeClock
) -> None:
    first = await make_stored_file(store, b"1", filename="one.csv")
    second = await make_stored_file(store, b"2", filename="two.csv")
    container = await containers.create(ORG, name="x", file_ids=[first.id, second.id])
    await execute(containers, container, "1")
    await sandbox.delete_file(container.id, "/mnt/data/two.csv")
    restarted = Containers(store, sandbox, clock)

    await execute(restarted, container, "1")

    assert sandbox.paths(container.id) == ["/mnt/data/one.csv", "/mnt/data/two.csv"]
    await restarted.close()


async def test_file_that_does_not_fit_does_not_keep_code_from_running(
    containers: Containers, store: Store, sandbox: MemorySandbox
) -> None:
    big = await make_stored_file(store, b"too big", filename="big.csv")
    small = await make_stored_file(store, b"ok", filename="small.csv")
    container = await containers.create(ORG, name="x", file_ids=[big.id, small.id])
    sandbox.room_bytes = 3

    execution = await execute(containers, container, "load('small.csv')")

    assert execution.outputs[0] == ResultOutput("'ok'")
    assert execution.notice is not None
    assert "/mnt/data/big.csv could not be put into the container" in execution.notice


async def test_kernel_that_dies_ends_the_execution_and_not_the_container(
    containers: Containers,
) -> None:
    container = await containers.create(ORG, name="x")

    execution = await execute(containers, container, "save('a.txt', 'x'); die()")

    assert execution.status == "died"
    assert execution.notice == "The kernel died; variables are gone."
    assert await names(containers, container) == ["a.txt"]
    assert (await execute(containers, container, "2 + 2")).outputs == (ResultOutput("4"),)


async def test_host_that_goes_down_in_the_middle_is_an_execution_that_died(
    containers: Containers, sandbox: MemorySandbox
) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "import asyncio; print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)

    sandbox.go_down()
    execution = [happening async for happening in happenings][-1]

    assert isinstance(execution, Execution)
    assert execution.status == "died"
    assert execution.notice is not None
    assert execution.outputs[0] == LogsOutput("stdout", "on")

    sandbox.is_up = True
    await sandbox.aclose()
    sandbox.lose_boxes()
    again = await execute(containers, container, "1")
    assert again.notice == VARIABLES_GONE


async def test_container_deleted_while_code_runs_keeps_nothing_of_it(
    containers: Containers, store: Store
) -> None:
    container = await containers.create(ORG, name="x")
    happenings = containers.execute(
        container,
        "import asyncio; save('a.txt', 'x'); print('on', end=''); await asyncio.sleep(60)",
        execution_id="exec_1",
        timeout_s=60,
    )
    await until_output(happenings)

    await containers.delete(ORG, container.id)
    execution = [happening async for happening in happenings][-1]

    assert isinstance(execution, Execution)
    assert execution.status == "interrupted"
    assert await store.container_files.all(container.id) == []
