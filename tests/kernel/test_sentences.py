from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from sanderling.kernel import sentences


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a box the whole machine is the company."""
    monkeypatch.setattr(sentences, "_CROWD", 1 << 30)


def explained(error: BaseException, *, memory_bytes: int | None = 1 << 30) -> str | None:
    return sentences.explain(error, memory_bytes=memory_bytes, data_folder="/tmp")


def raised(call) -> BaseException:
    try:
        call()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1 << 30, "1 GiB"),
        (3 << 29, "1.5 GiB"),
        (512 << 20, "512 MiB"),
        (2048, "2 KiB"),
        (5, "5 bytes"),
    ],
)
def test_sizes_are_for_people(count: int, said: str):
    assert sentences.size(count) == said


def test_each_limit_has_a_sentence():
    room = os.statvfs("/tmp")

    assert explained(MemoryError()) == "A process can have at most 1 GiB of memory."
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert explained(OSError(errno.EMFILE, "x")) == (
        f"A process can have at most {most:,} files open at a time."
    )
    disk = sentences.disk(room.f_blocks * room.f_frsize, room.f_files)
    assert explained(OSError(errno.ENOSPC, "x")) == disk


def test_a_limit_that_is_not_set_has_none():
    assert explained(MemoryError(), memory_bytes=None) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("can't start new thread"),
        RuntimeError("something"),
        RuntimeError(),
        OSError("of no number"),
        OSError(errno.ENOENT, "x"),
        BlockingIOError(errno.EAGAIN, "a socket that has nothing"),
    ],
)
def test_other_exceptions_have_none(error: BaseException):
    assert explained(error) is None


def test_a_thread_that_cannot_be_started_among_few_was_short_of_memory():
    error = RuntimeError("can't start new thread")

    assert explained(error) == sentences.memory(1 << 30)


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), BlockingIOError(errno.EAGAIN, "fork")]
)
def test_a_crowd_is_told_of(error: BaseException, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sentences, "_CROWD", 1)

    assert explained(error) == sentences.PROCESSES


def test_what_a_limit_led_to_is_explained_by_it():
    def with_cause():
        raise KeyError("x") from MemoryError()

    def meanwhile():
        try:
            raise MemoryError
        except MemoryError:
            raise KeyError("x")  # noqa: B904

    def hidden():
        try:
            raise MemoryError
        except MemoryError:
            raise KeyError("x") from None

    assert explained(raised(with_cause)) == sentences.memory(1 << 30)
    assert explained(raised(meanwhile)) == sentences.memory(1 << 30)
    assert explained(raised(hidden)) is None


def test_a_chain_without_end_has_one():
    error = ValueError()
    error.__context__ = KeyError()
    error.__context__.__context__ = error

    assert explained(error) is None


class Hostile(OSError):
    """It is nothing that it says, and ends whoever asks."""

    @property
    def errno(self):
        raise SystemExit

    @property
    def __class__(self):
        raise SystemExit

    @property
    def __cause__(self):
        raise SystemExit

    def __eq__(self, other):
        raise SystemExit

    __hash__ = None


class HostileText(str):
    __slots__ = ()

    def __eq__(self, other):
        raise SystemExit

    __hash__ = None


def test_no_code_of_the_exceptions_own_is_run():
    assert explained(Hostile(errno.ENOENT, "x")) is None
    assert explained(RuntimeError(HostileText("can't start new thread"))) is None


def test_a_folder_that_is_gone_costs_the_sentence_only(tmp_path: Path):
    error = OSError(errno.ENOSPC, "x")

    assert sentences.explain(error, memory_bytes=1, data_folder=str(tmp_path / "no")) is None
