"""The table of settings, as what is given on a command line, in the environment or in a file."""

from pathlib import Path

import pytest

from sanderling.errors import SetupError
from sanderling.settings import load, parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("512m", 512 << 20), ("1g", 1 << 30), ("1.5 KiB", 1536)]
)
def test_sizes_are_written_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("20m", 1200), ("500ms", 0.5), ("1h", 3600)]
)
def test_times_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("port = 1\nmax_turns = 1\npool_size = 1\n")
    environ = {"SANDERLING_PORT": "2", "SANDERLING_MAX_TURNS": "2"}

    settings = load({"port": "3"}, environ=environ, config=config)

    assert (settings.port, settings.max_turns, settings.pool_size) == (3, 2, 1)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("max_turns", "0", "--max-turns: 0 is too small; the least is 1."),
        ("pool_size", "-1", "--pool-size: -1 is too small; the least is 0."),
        ("execution_timeout_s", "0", "--execution-timeout-s: 0.0 is too small; the least is 0.1."),
        ("model_timeout_s", "nan", "is not a time"),
        ("box_disk_bytes", "1k", "the least is 1048576."),
        ("boxes_max", "many", "--boxes-max:"),
        ("min_isolation", "none", "'none' is not one of zygote, gvisor, vm."),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_what_would(
    name: str, value: str, complaint: str
) -> None:
    with pytest.raises(SetupError) as refusal:
        load({name: value}, environ={})

    assert complaint in refusal.value.message
