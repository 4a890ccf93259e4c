"""
Every log action there is, with what it means and which fields it carries.

A line in the log is an action and fields, never a sentence with values in it, so that a line can
be searched for and counted. An action that is not in this table cannot be logged: `logs` refuses
it, and so does the test that reads the source. User code, its output and file names are not
fields of any action.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of log line. Fields that are bound for the whole task (run_id, …) may be added."""

    meaning: str
    fields: tuple[str, ...] = ()


ACTIONS: dict[str, Action] = {
    # The server's process.
    "server.starting": Action("the server reads its data folder", ("data", "version")),
    "server.listening": Action("the server takes requests", ("url", "startup_ms")),
    "server.stopping": Action("a signal asked the server to end", ("signal",)),
    "server.stopped": Action("every stream is closed and every part is down", ("uptime_s",)),
    "server.background_failed": Action("a background task of the server ended", ("task",)),
    "host.found": Action("a sandbox host is at work for this data folder", ("pid", "isolation")),
    "host.lost": Action("the sandbox host could not be told to end", ("reason",)),
    # Requests and runs.
    "request.finished": Action(
        "one HTTP request was answered", ("method", "route", "status", "duration_ms", "request_id")
    ),
    "request.failed": Action("a request hit a fault of ours", ("method", "route", "request_id")),
    "relay.broken": Action("a model server broke off an answer that was passed on", ("reason",)),
    "run.started": Action("a run was recorded and claimed", ("run_id", "dialect", "model")),
    "run.finished": Action("a run reached its last state", ("run_id", "status", "duration_ms")),
    "run.failed": Action("a run ended by a fault, ours or the model's", ("run_id", "reason")),
    "run.recovered": Action("a run that a killed server left was ended", ("run_id",)),
    "feed.failed": Action("the events of a run could not be written", ("run_id",)),
    "sweep.failed": Action("a sweep for runs to forget failed; it is tried again", ("reason",)),
    # Containers.
    "container.created": Action("a client owns a new container", ("container_id", "memory_limit")),
    "container.expired": Action("an idle container was closed", ("container_id",)),
    "container.deleted": Action("a client deleted a container", ("container_id",)),
    "box.unprepared": Action("no box could be made ahead of the code", ("container_id", "reason")),
    "box.unclosed": Action("the host did not close a box", ("container_id", "reason")),
    "expiry.failed": Action("a sweep for idle containers failed; it is tried again", ("reason",)),
    # The sandbox host's process.
    "host.died": Action("a sandbox host that had died was replaced", ("pid", "replaced_by")),
    "host.ready": Action("the sandbox host takes calls", ("pid",)),
    "host.replaced": Action("a host of another version or other settings was ended", ("pid",)),
    "host.refused": Action("the sandbox host cannot run here", ("reason",)),
    "host.stopping": Action("the sandbox host was told to end"),
    "host.call_failed": Action("a call hit a fault of the host's"),
    "gvisor.ready": Action(
        "gVisor has checkpointed a warm kernel, and a box was restored from it",
        ("pid", "version", "platform"),
    ),
    "zygote.ready": Action(
        "a zygote forks boxes; reason: why they share the host's uid, where they do; missing: "
        "modules to preload that are not installed",
        ("pid", "uids", "reason", "environment", "duration_ms", "missing"),
    ),
    "environment.started": Action("boxes can be made with an environment", ("environment",)),
    "environment.failed": Action("an environment could not be started", ("environment", "reason")),
    "environment.changed": Action(
        "an environment was removed or replaced, or must be started anew", ("environment",)
    ),
    "environment.ended": Action("an environment that no box uses was ended", ("environment",)),
    "environment.end_failed": Action(
        "not all of an environment could be ended", ("environment", "reason")
    ),
    "zygote.died": Action("the zygote is gone, and every box with it", ("pid",)),
    "zygote.restarted": Action("another zygote took its place", ("pid",)),
    "zygote.start_failed": Action("no other could be started; it is tried again", ("reason",)),
    "pool.refill_failed": Action("a ready box could not be made; it is tried again", ("reason",)),
    "egress.request": Action(
        "code in a box asked to reach a domain", ("container_id", "domain", "verdict", "reason")
    ),
    "egress.died": Action("the egress proxy is gone; another is started", ("reason",)),
    "box.born": Action("a box stands for a container", ("container_id", "duration_ms")),
    "box.respawned": Action(
        "a new kernel took a dead one's place, files kept", ("container_id", "duration_ms")
    ),
    "box.group_left": Action("a box's control group could not be removed", ("box", "reason")),
    "box.died": Action("a box is gone", ("container_id", "reason")),
    "execution.finished": Action(
        "one cell ended", ("container_id", "execution_id", "status", "duration_ms")
    ),
    "execution.failed": Action("a cell hit a fault of ours", ("execution_id",)),
}
