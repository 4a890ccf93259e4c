from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sanderling.errors import (
    Conflict,
    Expired,
    InvalidRequest,
    NotFound,
    SanderlingError,
    StorageFull,
)
from sanderling.models.base import ModelEvent, TextDelta, TurnRequest
from sanderling.models.scripted import code, function, text
from sanderling.records import (
    AutoContainer,
    CodeCallItem,
    CodeTool,
    FilePart,
    FunctionOutputItem,
    FunctionTool,
    ImagePart,
    MessageItem,
    RunError,
    StoredConversation,
    Usage,
)
from sanderling.runs import events as e
from sanderling.runs.runner import OUR_FAULT, Runner
from sanderling.store.paging import Page
from tests.containers.makers import ORG, make_stored_file, names
from tests.runs.stage import AUTO, Stage, answer_text, items, readable, request, user

SLEEPER = "import asyncio; print('on', end=''); await asyncio.sleep(60)"
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = FunctionTool("weather", None, {}, strict=False)


async def until(runner: Runner, run_id: str, kind: type[e.Event]) -> None:
    """Wait until an event of that kind has happened in the run."""
    async with asyncio.timeout(10):
        async for _, event in runner.follow(run_id):
            if isinstance(event, kind):
                return
    raise AssertionError(f"the run ended without {kind}")


async def all_events(runner: Runner, run_id: str) -> list[e.Event]:
    async with asyncio.timeout(10):
        return [event async for _, event in runner.follow(run_id)]


class Silent:
    """A model that says a word and then nothing any more."""

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        yield TextDelta("Well")
        await asyncio.Event().wait()


# ---- records -----------------------------------------------------------------------------------


async def test_run_whose_end_cannot_be_written_ends_when_there_is_room_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = StoredConversation("conv_1", ORG, 1.0, {})
    await stage.store.conversations.insert(made, [])
    runner = stage.runner([text("Yes."), text("Again.")])

    async def fill_disk(*_arguments: Any, **_options: Any) -> bool:
        raise StorageFull

    with monkeypatch.context() as full:
        full.setattr(stage.store.runs, "record", fill_disk)
        run = await runner.start(request("?", conversation_id="conv_1"))
        work = runner._work[run.id]
        assert work.task is not None
        with pytest.raises(SanderlingError):
            await all_events(runner, run.id)
        await work.task
        with pytest.raises(SanderlingError):
            await runner.sweep()
        with pytest.raises(Conflict):
            await runner.start(request("?", conversation_id="conv_1"))
    await runner.sweep()

    ended, _, _ = await runner.get(ORG, run.id)
    assert (ended.status, ended.error) == ("failed", OUR_FAULT)
    again = await runner.start(request("?", conversation_id="conv_1"))
    assert (await all_events(runner, again.id))[-1].status == "completed"


async def test_run_is_recorded_with_what_went_in_and_came_out(stage: Stage) -> None:
    asked = request("2 + 2?")
    runner = stage.runner([code("2 + 2"), text("4")])
    run = await runner.start(asked)
    assert run.status == "in_progress"
    told = await all_events(runner, run.id)

    recorded, given, made = await runner.get(ORG, run.id)

    assert recorded.status == "completed"
    assert recorded.request == asked
    assert recorded.completed_at == stage.clock.at
    assert recorded.usage == Usage(20, 10)
    assert recorded.error is None
    assert given == list(asked.input)
    assert made == items(told)
    assert isinstance(made[0], CodeCallItem)
    assert recorded.container_id == made[0].container_id


async def test_run_without_code_has_no_container(stage: Stage) -> None:
    run, _ = await stage.run([text("Hi")], request("Hi"))

    assert run.container_id is None
    assert (await stage.containers.page(ORG, Page())).data == []


async def test_record_is_final_when_the_last_event_is_told(stage: Stage) -> None:
    runner = stage.runner([text("Hi")])
    run = await runner.start(request("Hi"))

    async for _, event in runner.follow(run.id):
        if e.is_terminal(event):
            assert (await runner.get(ORG, run.id))[0].status == "completed"


async def test_replay_equals_what_was_streamed(stage: Stage) -> None:
    runner = stage.runner([code("print(1)"), text("1")])
    run = await runner.start(request("?"))

    live = [numbered async for numbered in runner.follow(run.id)]
    replay = [numbered async for numbered in runner.follow(run.id)]

    assert live == replay
    assert [seq for seq, _ in live] == list(range(len(live)))


async def test_client_that_leaves_does_not_stop_the_run(stage: Stage) -> None:
    runner = stage.runner([code("1"), text("1")])
    run = await runner.start(request("?"))
    follower = runner.follow(run.id)
    await anext(follower)
    await follower.aclose()  # type: ignore[attr-defined]

    await all_events(runner, run.id)

    assert (await runner.get(ORG, run.id))[0].status == "completed"


async def test_foreign_and_unknown_runs_are_absent(stage: Stage) -> None:
    run, _ = await stage.run([text("Hi")], request("Hi"))
    runner = stage.runner([])

    for org, run_id in (("org_b", run.id), (ORG, "resp_none")):
        for attempt in (
            runner.get(org, run_id),
            runner.delete(org, run_id),
            runner.cancel(org, run_id),
        ):
            with pytest.raises(NotFound, match=f"Response with id '{run_id}' not found."):
                await attempt


async def test_deleted_run_is_gone_with_its_events(stage: Stage) -> None:
    runner = stage.runner([text("Hi")])
    run = await runner.start(request("Hi"))
    await all_events(runner, run.id)

    await runner.delete(ORG, run.id)

    with pytest.raises(NotFound):
        await runner.get(ORG, run.id)
    assert await all_events(runner, run.id) == []


async def test_run_at_work_can_be_deleted(stage: Stage) -> None:
    runner = stage.runner(Silent())  # type: ignore[arg-type]
    run = await runner.start(request("Hi"))
    await until(runner, run.id, e.TextAdded)

    await runner.delete(ORG, run.id)

    with pytest.raises(NotFound):
        await runner.get(ORG, run.id)


async def test_run_stopped_twice_still_gets_its_last_words(stage: Stage) -> None:
    class Reluctant:
        """A model whose connection takes a while to close."""

        def __init__(self) -> None:
            self.is_closing = asyncio.Event()
            self.may_close = asyncio.Event()

        async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
            yield TextDelta("Well")
            try:
                await asyncio.Event().wait()
            finally:
                self.is_closing.set()
                await self.may_close.wait()

    model = Reluctant()
    runner = stage.runner(model)  # type: ignore[arg-type]
    run = await runner.start(request("Hi"))
    await until(runner, run.id, e.TextAdded)
    follower = asyncio.create_task(all_events(runner, run.id))
    first = asyncio.create_task(runner.cancel(ORG, run.id))
    await model.is_closing.wait()
    second = asyncio.create_task(runner.close())
    await asyncio.sleep(0)
    assert not first.done()  # the second wish does not cut the first one short
    model.may_close.set()
    await asyncio.gather(first, second)

    assert readable(await follower)[-1] == "run cancelled"
    assert (await runner.get(ORG, run.id))[0].status == "cancelled"


async def test_run_of_another_organization_cannot_be_stopped(stage: Stage) -> None:
    runner = stage.runner(Silent())  # type: ignore[arg-type]
    run = await runner.start(request("Hi"))
    await until(runner, run.id, e.TextAdded)

    for attempt in (runner.cancel("org_other", run.id), runner.delete("org_other", run.id)):
        with pytest.raises(NotFound):
            await attempt

    assert (await runner.get(ORG, run.id))[0].status == "in_progress"
    await runner.close()


# ---- runs that were not to be stored -----------------------------------------------------------


async def test_unstored_run_can_be_followed_and_not_be_had(stage: Stage) -> None:
    runner = stage.runner([text("Hi")])
    run = await runner.start(request("Hi", stored=False))

    assert answer_text(await all_events(runner, run.id)) == "Hi"
    with pytest.raises(NotFound):
        await runner.get(ORG, run.id)
    with pytest.raises(InvalidRequest, match="Previous response"):
        await runner.start(request("?", previous_run_id=run.id))
    assert (await runner.get(ORG, run.id, include_unstored=True))[0].id == run.id


async def test_unstored_run_is_forgotten_ten_minutes_after_its_end(stage: Stage) -> None:
    run, _ = await stage.run([text("Hi")], request("Hi", stored=False))
    kept, _ = await stage.run([text("Hi")], request("Hi"))
    runner = stage.runner([])

    stage.clock.advance(minutes=9)
    assert await runner.sweep() == 0
    stage.clock.advance(minutes=2)
    assert await runner.sweep() == 1

    assert await all_events(runner, run.id) == []
    assert (await runner.get(ORG, kept.id))[0].id == kept.id


# ---- being stopped -----------------------------------------------------------------------------


async def test_cancelled_run_closes_its_message_and_ends(stage: Stage) -> None:
    runner = stage.runner(Silent())  # type: ignore[arg-type]
    run = await runner.start(request("Hi"))
    await until(runner, run.id, e.TextAdded)

    cancelled = await runner.cancel(ORG, run.id)

    assert (cancelled.status, cancelled.completed_at) == ("cancelled", stage.clock.at)
    assert readable(await all_events(runner, run.id)) == [
        "run in_progress",
        "msg1 begins",
        "msg1 + |Well",
        "msg1 ends incomplete Well",
        "run cancelled",
    ]
    assert [item.status for item in (await runner.get(ORG, run.id))[2]] == ["incomplete"]  # type: ignore[union-attr]
    assert (await runner.cancel(ORG, run.id)).status == "cancelled"


async def test_code_of_a_cancelled_run_is_interrupted_and_its_container_lives(
    stage: Stage,
) -> None:
    runner = stage.runner([code("x = 41\n" + SLEEPER)])
    run = await runner.start(request("?"))
    await until(runner, run.id, e.OutputAdded)

    await runner.cancel(ORG, run.id)

    told = await all_events(runner, run.id)
    assert readable(told)[-2:] == ["ci1 ends incomplete None stdout:on", "run cancelled"]
    assert [call[0] for call in stage.sandbox.calls].count("interrupt") == 1
    again = await stage.play([code("x + 1"), text("42")], request("?", previous_run_id=run.id))
    assert "ci1 [0] result:42" in readable(again)


async def test_run_that_ended_cannot_be_cancelled(stage: Stage) -> None:
    run, _ = await stage.run([text("Hi")], request("Hi"))

    with pytest.raises(Conflict, match=r"Cannot cancel run with status 'completed'."):
        await stage.runner([]).cancel(ORG, run.id)


async def test_server_stop_ends_every_run_as_failed(stage: Stage) -> None:
    runner = stage.runner(Silent())  # type: ignore[arg-type]
    runs = [await runner.start(request("Hi")) for _ in range(3)]
    for run in runs:
        await until(runner, run.id, e.TextAdded)
    followers = [asyncio.create_task(all_events(runner, run.id)) for run in runs]

    await runner.close()

    for run, follower in zip(runs, followers, strict=True):
        assert readable(await follower)[-2:] == [
            "msg1 ends incomplete Well",
            "run failed server_error",
        ]
        recorded, _, _ = await runner.get(ORG, run.id)
        assert recorded.error == RunError("server_error", "The server is shutting down.")


async def test_fault_of_ours_fails_the_run_and_nobody_elses(stage: Stage) -> None:
    class Broken:
        async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
            yield TextDelta("Well")
            raise ZeroDivisionError

    told = await stage.play(Broken(), request("Hi"))  # type: ignore[arg-type]

    assert readable(told)[-2:] == ["msg1 ends incomplete Well", "run failed server_error"]
    assert told[-1].error == RunError(  # type: ignore[union-attr]
        "server_error", "The server had an error while working on the run."
    )


# ---- containers along a chain ------------------------------------------------------------------


async def test_auto_container_stays_with_the_chain(stage: Stage) -> None:
    first, _ = await stage.run([code("x = 41"), text("Ok.")], request("?"))
    second, _ = await stage.run([text("Ok.")], request("?", previous_run_id=first.id))
    third, told = await stage.run(
        [code("x + 1"), text("42")], request("?", previous_run_id=second.id)
    )

    assert "ci1 [0] result:42" in readable(told)
    assert second.container_id is None
    assert third.container_id == first.container_id
    [container] = (await stage.containers.page(ORG, Page())).data
    assert container.name == "auto"


async def test_runs_that_are_no_chain_have_containers_of_their_own(stage: Stage) -> None:
    first, _ = await stage.run([code("1"), text("1")], request("?"))
    second, _ = await stage.run([code("1"), text("1")], request("?"))

    assert first.container_id != second.container_id


async def test_auto_container_has_the_memory_and_files_that_were_asked_for(
    stage: Stage,
) -> None:
    file = await make_stored_file(stage.store, b"x", filename="sales.csv")
    tool = CodeTool(AutoContainer((file.id,), "4g"))

    run, _ = await stage.run([code("1"), text("1")], request("?", tools=(tool,)))

    container = await stage.containers.get(ORG, run.container_id or "")
    assert container.memory_limit == "4g"
    assert await names(stage.containers, container) == ["sales.csv"]


@pytest.mark.parametrize("end", ["expired", "deleted"])
async def test_chain_whose_container_is_gone_gets_a_new_one_with_its_files(
    stage: Stage, end: str
) -> None:
    file = await make_stored_file(stage.store, b"x", filename="sales.csv")
    first, _ = await stage.run([code("1"), text("1")], request("?", FilePart(file.id, "sales.csv")))
    if end == "expired":
        stage.clock.advance(minutes=21)
    else:
        await stage.containers.delete(ORG, first.container_id or "")

    second, told = await stage.run(
        [code("load('sales.csv')"), text("x")], request("?", previous_run_id=first.id)
    )

    assert "ci1 [0] result:'x'" in readable(told)
    assert second.container_id != first.container_id


async def test_container_that_goes_between_two_calls_is_replaced_silently(stage: Stage) -> None:
    class Slow:
        """A model that thinks so long that the container expires before its second call."""

        turns = 0

        async def stream(self, turn: TurnRequest) -> AsyncIterator[ModelEvent]:
            self.turns += 1
            if self.turns == 2:
                stage.clock.advance(minutes=30)
                await stage.containers.expire_idle()
            for event in [code("1"), code("2"), text("2")][self.turns - 1]:
                yield event  # type: ignore[misc]

    told = await stage.play(Slow(), request("?"))  # type: ignore[arg-type]

    assert [line for line in readable(told) if "begins call" in line] == [
        "ci1 begins call_1 in cntr1",
        "ci2 begins call_1 in cntr2",
    ]
    assert readable(told)[-1] == "run completed"


async def test_container_that_goes_while_code_is_written_is_replaced_silently(
    stage: Stage,
) -> None:
    class Slow:
        turns = 0

        async def stream(self, turn: TurnRequest) -> AsyncIterator[ModelEvent]:
            self.turns += 1
            for event in [code("1"), text("1")][self.turns - 1]:
                yield event  # type: ignore[misc]
                if isinstance(event, e.CodeCallStarted) or event.__class__.__name__ == "CallDelta":
                    stage.clock.advance(minutes=30)
                    await stage.containers.expire_idle()

    run, told = await stage.run(Slow(), request("?"))  # type: ignore[arg-type]

    started = next(event for event in told if isinstance(event, e.CodeCallStarted))
    [call, _] = items(told)
    assert isinstance(call, CodeCallItem)
    assert call.status == "completed"
    assert call.container_id != started.container_id
    assert run.container_id == call.container_id


async def test_explicit_container_is_used_as_it_is(stage: Stage) -> None:
    container = await stage.containers.create(ORG, name="mine")

    run, _ = await stage.run([code("1"), text("1")], request("?", tools=(CodeTool(container.id),)))

    assert run.container_id == container.id


async def test_explicit_container_that_cannot_be_used_is_refused_before_the_run(
    stage: Stage,
) -> None:
    container = await stage.containers.create(ORG, name="mine")
    runner = stage.runner([])

    with pytest.raises(NotFound, match=r"Container with id 'cntr_x' not found.") as refused:
        await runner.start(request("?", tools=(WEATHER, CodeTool("cntr_x"))))
    assert refused.value.param == "tools[1].container"

    stage.clock.advance(minutes=21)
    with pytest.raises(Expired, match=r"Container is expired."):
        await runner.start(request("?", tools=(CodeTool(container.id),)))
    assert await stage.store.runs.unfinished() == []


async def test_container_of_a_replayed_call_is_used_again(stage: Stage) -> None:
    first, told = await stage.run([code("x = 41"), text("Ok.")], request("?"))

    second, again = await stage.run(
        [code("x + 1"), text("42")], request(input=(user("?"), *items(told), user("And?")))
    )

    assert second.container_id == first.container_id
    assert "ci1 [0] result:42" in readable(again)


async def test_replayed_call_of_a_container_that_is_not_there_is_only_text(
    stage: Stage,
) -> None:
    call = CodeCallItem("ci_x", "", "2 + 2", "cntr_dead", "completed")

    run, _ = await stage.run([code("1"), text("1")], request(input=(call, user("And?"))))

    assert run.status == "completed"
    assert run.container_id != "cntr_dead"


async def test_memory_that_the_machine_does_not_have_is_refused_before_the_run(
    stage: Stage,
) -> None:
    tool = CodeTool(AutoContainer((), "64g"))

    with pytest.raises(InvalidRequest) as refused:
        await stage.runner([]).start(request("?", tools=(tool,)))

    assert refused.value.param == "tools[0].container.memory_limit"


# ---- files of the input ------------------------------------------------------------------------


async def test_input_files_are_mounted_and_named_to_the_model(stage: Stage) -> None:
    sales = await make_stored_file(stage.store, b"a,b", filename="sales.csv")
    photo = await make_stored_file(stage.store, PNG + b"x", filename="photo.png")
    asked = request("Look.", FilePart(sales.id, "sales.csv"), ImagePart(file_id=photo.id))

    told = await stage.play([code("load('sales.csv')"), text("Ok.")], asked)

    assert "ci1 [0] result:'a,b'" in readable(told)
    [content] = [m["content"] for m in stage.model.requests[0].messages if m["role"] == "user"]
    assert content == [
        {"type": "text", "text": "Look.\n[files in /mnt/data: sales.csv, photo.png]"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgp4"}},
    ]


async def test_pictures_are_not_shown_to_a_model_that_cannot_see(stage: Stage) -> None:
    photo = await make_stored_file(stage.store, PNG, filename="photo.png")

    await stage.play(
        [text("Ok.")], request("Look.", ImagePart(file_id=photo.id)), shows_images=False
    )

    assert stage.model.requests[0].messages[-1]["content"] == (
        "Look.\n[files in /mnt/data: photo.png]"
    )


async def test_picture_of_a_type_models_do_not_read_is_only_mounted(stage: Stage) -> None:
    photo = await make_stored_file(stage.store, b"II*\0", filename="scan.tiff")

    await stage.play([text("Ok.")], request("Look.", ImagePart(file_id=photo.id)))

    assert stage.model.requests[0].messages[-1]["content"] == (
        "Look.\n[files in /mnt/data: scan.tiff]"
    )


async def test_file_is_mounted_once_along_the_chain_and_code_may_change_it(
    stage: Stage,
) -> None:
    file = await make_stored_file(stage.store, b"old", filename="a.csv")
    part = FilePart(file.id, "a.csv")
    first, _ = await stage.run([code("save('a.csv', 'new')"), text("Ok.")], request("?", part))

    told = await stage.play(
        [code("load('a.csv')"), text("Ok.")], request("?", part, previous_run_id=first.id)
    )

    assert "ci1 [0] result:'new'" in readable(told)
    container = await stage.containers.get(ORG, first.container_id or "")
    assert await names(stage.containers, container) == ["a.csv"]


async def test_second_file_of_a_name_is_mounted_and_named_with_a_number(stage: Stage) -> None:
    one = await make_stored_file(stage.store, b"1", filename="a.csv")
    two = await make_stored_file(stage.store, b"2", filename="a.csv")
    first, _ = await stage.run([code("1"), text("1")], request("?", FilePart(one.id, "a.csv")))

    told = await stage.play(
        [code("load('a.csv') + load('a_1.csv')"), text("12")],
        request("?", FilePart(two.id, "a.csv"), previous_run_id=first.id),
    )

    assert "ci1 [0] result:'12'" in readable(told)
    contents = [m["content"] for m in stage.model.requests[0].messages if m["role"] == "user"]
    assert contents == ["?\n[files in /mnt/data: a.csv]", "?\n[files in /mnt/data: a_1.csv]"]


async def test_unknown_file_is_refused_before_the_run(stage: Stage) -> None:
    runner = stage.runner([])

    with pytest.raises(NotFound, match="No such File object: file-x") as refused:
        await runner.start(request("?", FilePart("file-x", "x.csv")))
    assert refused.value.param == "input"

    with pytest.raises(NotFound) as refused:
        await runner.start(request("?", tools=(CodeTool(AutoContainer(("file-x",))),)))
    assert refused.value.param == "tools"


async def test_file_deleted_since_does_not_break_the_chain(stage: Stage) -> None:
    file = await make_stored_file(stage.store, b"x", filename="a.csv")
    first, _ = await stage.run([text("Ok.")], request("?", FilePart(file.id, "a.csv")))
    await stage.store.files.delete(ORG, file.id)

    second, _ = await stage.run([code("1"), text("1")], request("?", previous_run_id=first.id))

    assert second.status == "completed"


# ---- chains ------------------------------------------------------------------------------------


async def test_unknown_previous_run_is_refused(stage: Stage) -> None:
    with pytest.raises(
        InvalidRequest, match=r"Previous response with id 'resp_x' not found."
    ) as refused:
        await stage.runner([]).start(request("?", previous_run_id="resp_x"))

    assert (refused.value.param, refused.value.code) == (
        "previous_response_id",
        "previous_response_not_found",
    )


async def test_previous_run_that_has_not_ended_is_refused(stage: Stage) -> None:
    runner = stage.runner(Silent())  # type: ignore[arg-type]
    run = await runner.start(request("Hi"))

    with pytest.raises(InvalidRequest, match="has not ended yet"):
        await runner.start(request("?", previous_run_id=run.id))


async def test_function_call_left_without_an_answer_is_refused(stage: Stage) -> None:
    run, _ = await stage.run([function("weather", {})], request("?", tools=(AUTO, WEATHER)))

    with pytest.raises(InvalidRequest, match=r"No tool output found for function call call_1."):
        await stage.runner([]).start(request("?", previous_run_id=run.id))


async def test_answer_to_no_function_call_is_refused(stage: Stage) -> None:
    output = FunctionOutputItem("fco_1", "call_9", "x")

    with pytest.raises(InvalidRequest, match=r"No tool call found .* call_9") as refused:
        await stage.runner([]).start(request(input=(output,)))

    assert refused.value.param == "input"


async def test_instructions_are_not_carried_along_the_chain(stage: Stage) -> None:
    first, _ = await stage.run([text("Hi")], request("Hi", tools=(), instructions="Be brief."))

    await stage.play([text("Hi")], request("?", tools=(), previous_run_id=first.id))

    assert [m["role"] for m in stage.model.requests[-1].messages] == ["user", "assistant", "user"]


async def test_chain_goes_on_after_a_run_that_was_cancelled(stage: Stage) -> None:
    runner = stage.runner([code(SLEEPER)])
    run = await runner.start(request("?"))
    await until(runner, run.id, e.OutputAdded)
    await runner.cancel(ORG, run.id)

    told = await stage.play([text("Ok.")], request("Go on.", previous_run_id=run.id))

    assert answer_text(told) == "Ok."
    assert [m["role"] for m in stage.model.requests[-1].messages][1:] == [
        "user",
        "assistant",
        "tool",
        "user",
    ]


async def test_request_without_any_input_is_run(stage: Stage) -> None:
    values: dict[str, Any] = {"tools": ()}
    run, told = await stage.run([text("Hello?")], request(**values))

    assert run.status == "completed"
    assert isinstance(items(told)[0], MessageItem)


# ---- in the background -------------------------------------------------------------------------


async def test_background_runs_take_turns_and_one_that_waits_can_be_cancelled(stage: Stage) -> None:
    runner = stage.runner(Silent(), background_at_work_max=1)  # type: ignore[arg-type]
    first = await runner.start(request("Hi", background=True))
    await until(runner, first.id, e.TextAdded)
    second, third = [await runner.start(request("Hi", background=True)) for _ in range(2)]

    assert (second.status, third.status) == ("queued", "queued")
    assert (await runner.cancel(ORG, second.id)).status == "cancelled"
    assert readable(await all_events(runner, second.id)) == ["run queued", "run cancelled"]
    assert (await runner.get(ORG, third.id))[0].status == "queued"
    assert (await runner.get(ORG, first.id))[0].status == "in_progress"
    await runner.cancel(ORG, first.id)
    await until(runner, third.id, e.TextAdded)
    other = await runner.start(request("Hi", background=True, organization_id="org_other"))
    await until(runner, other.id, e.TextAdded)  # nothing of its own at work: it need not wait


async def test_background_run_that_waited_finds_what_it_was_given_or_says_what_is_gone(
    stage: Stage,
) -> None:
    runner = stage.runner(Silent(), background_at_work_max=1)  # type: ignore[arg-type]
    first = await runner.start(request("Hi", background=True))
    await until(runner, first.id, e.TextAdded)
    file = await make_stored_file(stage.store)
    waiting = await runner.start(request(FilePart(file.id, "a.csv"), background=True))
    await stage.store.files.delete(ORG, file.id)
    await runner.cancel(ORG, first.id)

    assert readable(await all_events(runner, waiting.id)) == [
        "run queued",
        "run failed server_error",
    ]
    run, given, _ = await runner.get(ORG, waiting.id)
    assert run.error == RunError("server_error", f"No such File object: {file.id}")
    assert run.request.input == tuple(given)
