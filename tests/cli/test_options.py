from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from sanderling import settings as settings_module
from sanderling.cli import options
from sanderling.cli.main import group
from sanderling.errors import SetupError
from sanderling.settings import Settings


def shown(*arguments: str, **environ: str) -> str:
    inherited = {name: None for name in os.environ if name.startswith("SANDERLING_")}
    result = CliRunner(env={**inherited, **environ}).invoke(group, ["settings", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_a_flag_of_serve(field: dataclasses.Field[object]) -> None:
    help = CliRunner().invoke(group, ["serve", "--help"]).output

    assert f"--{field.name.replace('_', '-')}" in help
    assert settings_module.environment_name(field.name) in "".join(help.split())


def test_printed_settings_are_a_settings_file_that_says_the_same(tmp_path: Path) -> None:
    printed = shown("--port", "9000", "--file-bytes-max", "7m", "--no-model-images")
    file = tmp_path / "sanderling.toml"
    file.write_text(printed)

    assert settings_module.load({}, environ={}, config=file) == Settings(
        port=9000, file_bytes_max=7 << 20, model_images=False
    )


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("port = 1\nmax_turns = 1\npool_size = 1\n")

    printed = shown(
        "--config", str(file), "--port", "3", SANDERLING_PORT="2", SANDERLING_MAX_TURNS="2"
    )

    assert "\nport = 3\n" in printed
    assert "\nmax_turns = 2\n" in printed
    assert "\npool_size = 1\n" in printed


def test_a_value_that_cannot_be_read_names_its_flag() -> None:
    result = CliRunner().invoke(group, ["settings", "--file-bytes-max", "lots"])

    assert result.exit_code == 1
    assert "--file-bytes-max" in str(result.exception)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("pool_size = 2.5", "a whole number"),
        ("pool_size = true", "a whole number"),
        ("model_images = 1", "true or false"),
        ("host = 5", "text"),
        ("data = 5", "text"),
        ("model_timeout_s = []", "a number of seconds"),
    ],
)
def test_a_line_of_the_file_with_a_value_of_another_type_is_refused_by_name(
    tmp_path: Path, line: str, wanted: str
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(line)

    with pytest.raises(SetupError, match=f"{line.split(maxsplit=1)[0]}: .* is not {wanted}"):
        settings_module.load({}, environ={}, config=file)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("file_bytes_max", 512 << 20, "512m"),
        ("logs_bytes_max", 1500, "1500"),
        ("execution_timeout_s", 0.25, "250ms"),
        ("execution_timeout_s", 60.0, "60s"),
        ("model_images", True, "true"),
        ("data", Path("/x"), "/x"),
    ],
)
def test_a_value_is_shown_as_a_person_would_type_it(name: str, value: object, text: str) -> None:
    assert options.shown(options.FIELDS[name], value) == text
