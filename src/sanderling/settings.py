"""
Every setting, once: name, default, unit, help, and why this number.

From this one table come the command-line flags, the environment variables (`SANDERLING_` + name in
capitals), the settings file's keys and what `sanderling settings` prints. Precedence: flag,
environment, file (TOML, `--config`), default. `app.py` passes the few values each part needs.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanderling.errors import SetupError

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$", re.IGNORECASE)
_TIME = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$", re.IGNORECASE)
# What a value that is no text may be (TOML has types of its own), by kind, in code and in words.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "size": ((int,), "a whole number of bytes, or text like 512k, 20m, 1g"),
    "float": ((int, float), "a number"),
    "time": ((int, float), "a number of seconds, or text like 90s, 20m, 1h"),
    "bool": ((bool,), "true or false"),
    "path": ((Path,), "text"),
}
_SIZE_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME_FACTOR = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(text: str) -> int:
    """Return bytes for `512m`, `1g`, `65536`. Raises ValueError with what would be right."""
    match = _SIZE.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write bytes or 512k, 20m, 1g")
    return int(float(match[1]) * _SIZE_FACTOR[match[2].lower()])


def parse_time(text: str) -> float:
    """Return seconds for `60`, `20m`, `500ms`. Raises ValueError with what would be right."""
    match = _TIME.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a time; write seconds or 500ms, 90s, 20m, 1h")
    return float(match[1]) * _TIME_FACTOR[(match[2] or "s").lower()]


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local/share")
    return Path(base) / "sanderling"


def _setting(
    default: Any, help: str, why: str, *, kind: str = "text", least: float | None = None
) -> Any:
    """
    Declare a setting.

    kind: text, int, float, bool, size (bytes), time (seconds), path, choice:a|b.
    least: the smallest number that makes sense.
    """
    metadata = {"help": help, "why": why, "kind": kind, "least": least}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The values the server runs with."""

    host: str = _setting(
        "127.0.0.1",
        "Address to listen on.",
        "Loopback: without keys nobody else may reach a machine that runs code.",
    )
    port: int = _setting(
        8000, "Port to listen on; 0 picks a free one.", "uvicorn's own.", kind="int", least=0
    )
    data: Path = _setting(
        _default_data_dir,
        "Folder for the database, files and sockets.",
        "XDG base directory specification.",
        kind="path",
    )
    env: Path | None = _setting(
        None,
        "Guest environment to run code in; default: the one `sanderling setup` built.",
        "Its own environment, so that the server's packages never meet the model's.",
        kind="path",
    )
    environments: Path | None = _setting(
        None,
        "Folder of the named environments; default: environments below the data folder.",
        "Several servers of a machine may share one.",
        kind="path",
    )
    environment: str | None = _setting(
        None,
        "Named environment of containers that name none; default: the one of --env.",
        "Clients of a server for one purpose need not know its name.",
    )
    environments_max: int = _setting(
        4,
        "Most environments in use at once, beside that of containers that name none.",
        "Each has its libraries loaded: 100 to 300 MiB.",
        kind="int",
        least=0,
    )
    environment_idle_s: float = _setting(
        600.0,
        "How long a named environment that no box uses stays loaded.",
        "Loading takes seconds, and conversations pause; memory is not for ever.",
        kind="time",
        least=0.0,
    )
    preload: str = _setting(
        "default",
        "Modules loaded once and shared by all boxes: names with commas between; `default` is the "
        "usual list, `none` nothing.",
        "What every second cell imports takes seconds in each box and one copy here.",
    )
    model_url: str | None = _setting(
        None,
        "Base URL of an OpenAI-compatible model server; default: the built-in offline model.",
        "The demo needs no key and no weights.",
    )
    model_name: str | None = _setting(
        None,
        "Send every request to this model, whatever name the client asks for.",
        "Old applications name models that no longer exist.",
    )
    model_timeout_s: float = _setting(
        600.0,
        "Longest silence of the model server before the run fails.",
        "The openai SDK's own read timeout.",
        kind="time",
        least=0.1,
    )
    model_images: bool = _setting(
        True,
        "Show input images to the model as well as to the code.",
        "Models that cannot see answer 400 to an image; switch it off for those.",
        kind="bool",
    )
    model_text_calls: bool = _setting(
        False,
        "Also run code that the model wrote as a fenced or tagged call in its text.",
        "For models without tool calling; others mean a fence as prose.",
        kind="bool",
    )
    max_turns: int = _setting(
        30,
        "Most model calls in one run.",
        "Well past any real analysis; a model that loops must end.",
        kind="int",
        least=1,
    )
    execution_timeout_s: float = _setting(
        60.0,
        "Wall-clock limit of one cell.",
        "What ChatGPT tells its models; 30 s in seed 001, 120 s in gpt-oss.",
        kind="time",
        least=0.1,
    )
    logs_bytes_max: int = _setting(
        1 << 20,
        "Most bytes of logs kept from one execution; head and tail are kept.",
        "A megabyte is far more than a model can read.",
        kind="size",
        least=1024,
    )
    model_logs_chars_max: int = _setting(
        20_000,
        "Most characters of one execution's output that the model is shown.",
        "About 5,000 tokens; more crowds out the conversation.",
        kind="int",
        least=100,
    )
    file_bytes_max: int = _setting(
        512 << 20, "Largest file accepted.", "OpenAI's documented 512 MB.", kind="size", least=1
    )
    upload_bytes_max: int = _setting(
        8 << 30,
        "Largest file accepted in parts, by the Uploads API.",
        "OpenAI's documented 8 GB.",
        kind="size",
        least=1,
    )
    box_disk_bytes: int = _setting(
        2 << 30,
        "Disk quota of one box: /mnt/data, /tmp, home and /dev/shm together.",
        "Room for a 512 MB upload, its unpacked form and results.",
        kind="size",
        least=1 << 20,
    )
    box_cpus: float | None = _setting(
        None,
        "Most processors one box may use; default: all.",
        "Boxes share evenly what is wanted by several; a processor nobody else wants is no loss.",
        kind="float",
        least=0.01,
    )
    container_idle_minutes: int = _setting(
        20,
        "Idle minutes before a container expires.",
        "OpenAI's documented 20.",
        kind="int",
        least=1,
    )
    files_kept_s: float = _setting(
        7 * 86400.0,
        "How long files that code made can be downloaded when their container has expired.",
        "A conversation is looked at again within the week; no disk is for ever.",
        kind="time",
        least=0.0,
    )
    requests_per_minute: int = _setting(
        0,
        "Most requests of one organization in a minute, of any kind; beyond it gets 429. "
        "0: no limit.",
        "The machine is the operator's own, and queues and shares protect it; OpenAI has 100.",
        kind="int",
        least=0,
    )
    pool_size: int = _setting(
        4,
        "Ready boxes kept waiting.",
        "About 4 MiB each; hides the fork from the first call.",
        kind="int",
        least=0,
    )
    boxes_max: int = _setting(
        1000, "Most boxes alive at once.", "About 4 MiB each when idle.", kind="int", least=1
    )
    boxes_per_organization_max: int = _setting(
        500,
        "Most boxes one organization has alive at once; beyond it gets 429.",
        "Half of boxes_max, so that there is room for others; whoever changes one changes both.",
        kind="int",
        least=1,
    )
    executions_max: int = _setting(
        64,
        "Most cells running at once; others wait, organizations in turn.",
        "Cells that mostly wait may be many; many that compute would only get in each other's way. "
        "An organization that runs nothing never waits.",
        kind="int",
        least=1,
    )
    isolation: str = _setting(
        "zygote",
        "What stands between code and this machine; gvisor is stronger, slower and needs root.",
        "The fastest level; nothing is chosen in its place if it cannot be had.",
        kind="choice:zygote|gvisor|vm",
    )
    min_isolation: str = _setting(
        "zygote",
        "Weakest isolation level the server may run code with.",
        "Nothing falls back silently.",
        kind="choice:zygote|gvisor|vm",
    )
    egress_domains: str = _setting(
        "",
        "Domains that containers may be let reach over HTTP(S) by their network_policy: names and "
        "*.names with commas between, or * for every public one; empty: none, no network at all.",
        "Off: who wants code to reach something says what.",
    )
    log_level: str = _setting(
        "warning",
        "Least severe log lines to print.",
        "One line on start is promised; the rest is for those who ask.",
        kind="choice:debug|info|warning|error",
    )

    @property
    def environments_folder(self) -> Path:
        """Where the named environments are."""
        return self.data / "environments" if self.environments is None else self.environments


def environment_name(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return "SANDERLING_" + name.upper()


def _convert(field: dataclasses.Field[Any], value: Any) -> Any:
    kind = field.metadata["kind"]
    if not isinstance(value, str):
        types, words = _TYPES.get(kind, ((), "text"))
        # To Python a bool is an int.
        if not isinstance(value, types) or isinstance(value, bool) != (kind == "bool"):
            raise ValueError(f"{value!r} is not {words}")
        return value
    match kind:
        case "int" if re.fullmatch(r"[+-]?\d+", value) is None:
            raise ValueError(f"{value!r} is not a whole number")
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "bool":
            if value.lower() not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
                raise ValueError(f"{value!r} is neither true nor false")
            return value.lower() in {"1", "true", "yes", "on"}
        case "size":
            return parse_size(value)
        case "time":
            return parse_time(value)
        case "path":
            return Path(value).expanduser()
        case _ if kind.startswith("choice:"):
            choices = kind.removeprefix("choice:").split("|")
            if value not in choices:
                raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
    return value


def _within(field: dataclasses.Field[Any], value: Any) -> Any:
    least = field.metadata["least"]
    if least is not None and not value >= least:  # NaN is refused too
        raise ValueError(f"{value} is too small; the least is {least}")
    return value


def load(
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] = os.environ,
    config: Path | None = None,
) -> Settings:
    """
    Return the settings that hold: flags (None means not given), environment, file, defaults.

    Raises:
        SetupError: an unknown name in the file, or a value that cannot be read; says which.
    """
    fields = {f.name: f for f in dataclasses.fields(Settings)}
    from_file: dict[str, Any] = {}
    if config is not None:
        try:
            from_file = tomllib.loads(config.read_text())
        except OSError as error:
            raise SetupError(
                f"The settings file {config} cannot be read: {error.strerror}."
            ) from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SetupError(f"The settings file {config} cannot be read: {error}.") from error
        if unknown := sorted(set(from_file) - set(fields)):
            raise SetupError(
                f"The settings file {config} has unknown settings: {', '.join(unknown)}. "
                f"Known are: {', '.join(fields)}."
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        for source, value in (
            (f"--{name.replace('_', '-')}", flags.get(name)),
            (environment_name(name), environ.get(environment_name(name))),
            (f"{config}: {name}", from_file.get(name)),
        ):
            if value is None:
                continue
            try:
                values[name] = _within(field, _convert(field, value))
            except ValueError as error:
                raise SetupError(f"{source}: {error}.") from error
            break
    return Settings(**values)
