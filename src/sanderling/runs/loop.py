"""
Ask the model, run its code, tell it what happened, until it only talks.

The loop knows no wire and no store: it reads a `Conversation`, asks a `Model`, runs code in a
`Workspace`, and tells every event of `events.py` in order. It keeps two promises. An item's events
never interleave with another's: a turn's calls are run one after the other as they are written.
And code runs only when it is whole: a call is held until the model's next event shows that the
token limit did not cut it.

What the model gets wrong in ways the client need not see (tools that do not exist, calls past the
limit, an empty answer) is answered to the model alone; see `HiddenCall` and `Note`. Where the
answer has to be JSON, words are held until they are known to be it: what a client was told cannot
be taken back. Words beside a call are no answer then, and dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from sanderling.clock import Clock
from sanderling.containers import happenings as happenings_of
from sanderling.containers.streams import closing
from sanderling.errors import ModelProtocol, PromptTooLong, SandboxError
from sanderling.ids import new_id
from sanderling.models.base import (
    CODE_TOOL_NAME,
    CallDelta,
    CallFinished,
    CallStarted,
    Model,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.records import (
    Artifact,
    CodeCallItem,
    ErrorOutput,
    Execution,
    ExecutionStatus,
    FunctionCallItem,
    MessageItem,
    Run,
    RunError,
    RunStatus,
    TextPart,
    Usage,
)
from sanderling.runs import prompts
from sanderling.runs.answers import check, is_checked
from sanderling.runs.asking import functions_of, turn_request
from sanderling.runs.events import (
    ArgumentsAdded,
    CodeAdded,
    CodeCallFinished,
    CodeCallStarted,
    CodeWritten,
    FunctionCallFinished,
    FunctionCallStarted,
    OutputAdded,
    OutputsCleared,
    RunChanged,
)
from sanderling.runs.transcript import Conversation, HiddenCall, Note
from sanderling.runs.workspace import Workspace
from sanderling.runs.writing import Tell, Writer

# How a code call is shown that ended so: code that raises has run; `failed` is for what the wall
# or a limit did to it.
_ITEM_STATUS: dict[ExecutionStatus, Literal["completed", "failed", "incomplete"]] = {
    "ok": "completed",
    "error": "completed",
    "timed_out": "failed",
    "out_of_memory": "failed",
    "died": "failed",
    "interrupted": "incomplete",
}
# How a model server says that it cut a turn short, and the reason we give the client.
_CUTS = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class _Turn:
    """
    One model call as it goes on; changed by the loop only.

    calls: code calls and hidden calls, after which the model wants to go on.
    function_calls: calls that the client has to answer.
    hidden: the answer to the call going on, if that is for the model only.
    written: a code call that is complete but for the model's next event.
    held: words that are told when they are known to be the answer.
    """

    may_call: bool
    has_begun: bool = False
    has_spoken: bool = False
    calls: int = 0
    function_calls: int = 0
    hidden: str | None = None
    written: CallFinished | None = None
    finished: TurnFinished | None = None
    held: list[str] = field(default_factory=list)


class Loop:
    """
    One run at work; `go` is called once.

    Attributes:
        usage: tokens of the turns so far.
    """

    def __init__(
        self,
        run: Run,
        conversation: Conversation,
        *,
        model: Model,
        workspace: Workspace,
        clock: Clock,
        max_turns: int,
        tell: Tell,
        uncited: Iterable[Artifact] = (),
    ) -> None:
        """
        uncited: artifacts of the runs before that no message cited, because those runs stopped at
            a client's function.
        """
        self.usage = Usage()
        self._request = run.request
        self._conversation = conversation
        self._model = model
        self._workspace = workspace
        self._clock = clock
        self._max_turns = max_turns
        self._writer = Writer(workspace, tell, uncited=uncited)
        self._functions = [tool.name for tool in functions_of(run.request)]
        self._turns = 0
        self._code_calls = 0
        self._was_nudged = False
        self._holds_words = is_checked(run.request.text_format)
        self._was_corrected = False

    async def go(self) -> None:
        """
        Work until the run is completed, incomplete, or failed for want of an answer.

        Raises:
            ModelError, SandboxError, RequestError: the run has failed; the caller says so.
        """
        await self._writer.tell(RunChanged("in_progress", self._clock.now()))
        ending = None if self._request.generate else self._ended("completed")
        while ending is None:
            turn = await self._take_turn()
            ending = await self._end_of(turn)
        await self._writer.tell(ending)

    # ---- one turn ------------------------------------------------------------------------------

    async def _take_turn(self) -> _Turn:
        self._turns += 1
        if self._is_last() and self._turns > 1:
            self._writer.entries.append(Note(prompts.ANSWER_NOW))
        while True:
            request = self._turn_request()
            turn = _Turn(may_call=request.tool_choice != "none")
            try:
                async with closing(self._model.stream(request)) as events:
                    async for event in events:
                        turn.has_begun = True
                        await self._run_written(turn, event)
                        await self._take(turn, event)
                break
            except PromptTooLong as error:
                if turn.has_begun:
                    raise
                self._shorten(error)
        if turn.finished is None:
            raise ModelProtocol("The model server ended its answer without saying it was done.")
        self.usage += turn.finished.usage
        return turn

    def _turn_request(self) -> TurnRequest:
        return turn_request(
            self._request,
            self._conversation.messages(self._writer.entries),
            offers_code=self._workspace.offers_code,
            is_first=self._turns == 1,
            is_last=self._is_last(),
            is_code_used_up=self._is_code_used_up(),
            output_tokens=self.usage.output_tokens,
        )

    def _shorten(self, error: PromptTooLong) -> None:
        """Leave out what is oldest. Raises PromptTooLong: not asked for, or nothing is left."""
        if self._request.truncation != "auto":
            raise PromptTooLong(
                f"{error.message} With 'truncation' set to 'auto' the oldest items are left out.",
                status=error.status,
            )
        shorter = self._conversation.shortened()
        if shorter is None:
            raise error
        self._conversation = shorter

    def _is_last(self) -> bool:
        return self._turns >= self._max_turns

    def _is_code_used_up(self) -> bool:
        most = self._request.max_tool_calls
        return most is not None and self._code_calls >= most

    async def _take(self, turn: _Turn, event: ModelEvent) -> None:
        match event:
            case TextDelta(text=text) if self._holds_words:
                turn.has_spoken |= bool(text.strip())
                turn.held.append(text)
            case TextDelta(text=text):
                turn.has_spoken |= await self._writer.text(text)
            case RefusalDelta(text=text):
                turn.has_spoken = True
                await self._writer.refusal(text)
            case ReasoningDelta(text=text):
                await self._writer.reasoning(text)
            case CallStarted():
                await self._start_call(turn, event)
            case CallDelta(text=text):
                await self._add_to_call(turn, text)
            case CallFinished():
                await self._finish_call(turn, event)
            case TurnFinished():
                turn.finished = event
            case _:
                assert_never(event)

    # ---- calls ---------------------------------------------------------------------------------

    async def _start_call(self, turn: _Turn, event: CallStarted) -> None:
        turn.hidden = self._why_hidden(turn, event)
        if turn.hidden is not None:
            return
        await self._writer.close()
        if event.is_code:
            container = await self._workspace.open()
            started = CodeCallStarted(new_id("ci"), event.call_id, container.id)
            await self._writer.tell(started)
        else:
            await self._writer.tell(FunctionCallStarted(new_id("fc"), event.call_id, event.name))

    def _why_hidden(self, turn: _Turn, event: CallStarted) -> str | None:
        """Return what the model is told if this call is not carried out, or None if it is."""
        offers_code = self._workspace.offers_code
        if not (offers_code if event.is_code else event.name in self._functions):
            known = [CODE_TOOL_NAME] if offers_code else []
            return prompts.unknown_tool(event.name, known + self._functions)
        if not turn.may_call:
            return prompts.CALLS_OFF
        return prompts.CALLS_USED_UP if event.is_code and self._is_code_used_up() else None

    async def _add_to_call(self, turn: _Turn, text: str) -> None:
        if turn.hidden is not None:
            return
        item_id = self._writer.open.item_id
        is_code = self._writer.open.kind == "code"
        await self._writer.tell(
            CodeAdded(item_id, text) if is_code else ArgumentsAdded(item_id, text)
        )

    async def _finish_call(self, turn: _Turn, event: CallFinished) -> None:
        if turn.hidden is not None:
            turn.calls += 1
            arguments = {"code": event.text} if event.is_code else _object(event.text)
            text = json.dumps(arguments, ensure_ascii=False)
            hidden = HiddenCall(event.call_id, event.name, text, turn.hidden)
            self._writer.entries.append(hidden)
            turn.hidden = None
        elif event.is_code:
            turn.calls += 1
            self._code_calls += 1
            turn.written = event
        else:
            item_id = self._writer.open.item_id
            function = FunctionCallItem(item_id, event.call_id, event.name, event.text)
            if event.problem is None:
                turn.function_calls += 1
                await self._writer.finish(function, FunctionCallFinished(function))
            else:
                # Nobody can make sense of the arguments: not for the client to answer.
                turn.calls += 1
                function = replace(function, status="incomplete")
                await self._writer.finish(function, FunctionCallFinished(function))
                self._writer.entries.append(
                    HiddenCall(event.call_id, event.name, event.text, event.problem)
                )

    async def _run_written(self, turn: _Turn, following: ModelEvent) -> None:
        """Run the code call that was complete before `following`, if there is one."""
        call, turn.written = turn.written, None
        if call is None:
            return
        item = CodeCallItem(
            id=self._writer.open.item_id,
            call_id=call.call_id,
            code=call.text,
            container_id=self._writer.open.container_id,
            status="incomplete",
        )
        if not (isinstance(following, TurnFinished) and following.finish in _CUTS):
            await self._writer.tell(CodeWritten(item.id, item.code))
            item = await (self._refuse if call.problem else self._execute)(item, call)
        await self._writer.finish(item, CodeCallFinished(item))

    async def _refuse(self, item: CodeCallItem, call: CallFinished) -> CodeCallItem:
        """Return the outcome of a call that nobody can make sense of: told, not run."""
        problem = call.problem or ""
        error = ErrorOutput("InvalidCall", problem, problem)
        await self._writer.tell(OutputAdded(item.id, 0, error))
        return replace(item, outputs=(error,))

    async def _execute(self, item: CodeCallItem, call: CallFinished) -> CodeCallItem:
        """Return the outcome of running the call's code."""
        execution_id = new_id("exec")
        try:
            execution = await self._execution(item.id, call.text, execution_id)
        except asyncio.CancelledError:
            # The run is stopped: so must its code be, which leaving its outputs does not do.
            await self._workspace.interrupt(execution_id)
            raise
        return replace(
            item,
            container_id=execution.container_id,
            status=_ITEM_STATUS[execution.status],
            outputs=execution.outputs,
            artifacts=execution.artifacts,
            execution_status=execution.status,
        )

    async def _execution(self, item_id: str, code: str, execution_id: str) -> Execution:
        async with closing(self._workspace.execute(code, execution_id)) as happenings:
            async for happening in happenings:
                match happening:
                    case happenings_of.OutputAppeared(index=index, output=output):
                        await self._writer.tell(OutputAdded(item_id, index, output))
                    case happenings_of.OutputsCleared():
                        await self._writer.tell(OutputsCleared(item_id))
                    case Execution():
                        return happening
                    case _:
                        assert_never(happening)
        raise SandboxError("An execution ended without a record.")

    # ---- the end -------------------------------------------------------------------------------

    async def _end_of(self, turn: _Turn) -> RunChanged | None:
        """Return the run's last event, or None if another turn follows."""
        assert turn.finished is not None
        if turn.finished.finish in _CUTS:
            if turn.held:
                await self._writer.text("".join(turn.held))
            await self._writer.close(is_final=True, is_cut=True)
            return self._ended("incomplete", reason=_CUTS[turn.finished.finish])
        if turn.function_calls:
            await self._writer.close()
            return self._ended("completed")
        if turn.calls and self._is_last() and not turn.has_spoken:
            await self._writer.close()
            return self._ended("failed", error=_no_answer(self._turns))
        if turn.calls and not self._is_last():
            return await self._go_on()
        if not (turn.has_spoken or self._was_nudged or self._is_last()):
            self._was_nudged = True
            self._writer.entries.append(Note(prompts.ANSWER_EMPTY))
            return await self._go_on()
        if (problem := await self._tell_held(turn)) is not None:
            return await self._correct(problem)
        await self._writer.conclude(has_spoken=turn.has_spoken)
        return self._ended("completed")

    async def _tell_held(self, turn: _Turn) -> str | None:
        """Tell the words that were held, or return why they are not the answer."""
        if not turn.held:
            return None
        checked = check("".join(turn.held), self._request.text_format)
        if checked.problem is None:
            await self._writer.text(checked.text)
        else:
            wrong = MessageItem(new_id("msg"), "assistant", (TextPart(checked.text),))
            self._writer.entries.append(wrong)
        return checked.problem

    async def _correct(self, problem: str) -> RunChanged | None:
        """Ask once more for an answer of the right format; end the run if that was done before."""
        if self._was_corrected or self._is_last():
            await self._writer.close(is_final=True)
            return self._ended("failed", error=_wrong_answer(problem))
        self._was_corrected = True
        note = prompts.answer_wrong(problem, self._request.text_format.schema)
        self._writer.entries.append(Note(note))
        return await self._go_on()

    async def _go_on(self) -> RunChanged | None:
        """Return None, or the end of a run that has no tokens left for another turn."""
        limit = self._request.max_output_tokens
        is_out = limit is not None and self.usage.output_tokens >= limit
        await self._writer.close(is_final=is_out)
        return self._ended("incomplete", reason="max_output_tokens") if is_out else None

    def _ended(
        self, status: RunStatus, *, reason: str | None = None, error: RunError | None = None
    ) -> RunChanged:
        now = self._clock.now()
        return RunChanged(status, now, self.usage, error=error, incomplete_reason=reason)


def _no_answer(turns: int) -> RunError:
    return RunError("server_error", f"The model came to no answer within {turns} turns.")


def _wrong_answer(problem: str) -> RunError:
    return RunError(
        "server_error", f"The model's answer is not in the format that was asked for: {problem}."
    )


def _object(text: str) -> dict[str, Any]:
    """Return JSON text as a value that can be replayed as arguments: always an object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"input": value}
