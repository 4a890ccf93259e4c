from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.live import guest_env, sanderling


@pytest.mark.sandbox
def test_a_fit_machine_is_told_so_and_0() -> None:
    result = sanderling("doctor", "--env", guest_env())

    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("This machine can run code in sealed boxes.\n")
    assert "\nok      a box: " in result.stdout
    assert "\nok      preload: " in result.stdout
    assert "ms, once; slowest: " in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.sandbox
def test_what_is_missing_is_told_with_its_remedy_and_1(tmp_path: Path) -> None:
    result = sanderling("doctor", "--env", tmp_path / "none")

    assert result.returncode == 1
    assert "\nmissing guest environment: " in result.stdout
    assert "\n        sanderling setup" in result.stdout
    assert result.stdout.endswith("This machine cannot run code in sealed boxes.\n")


@pytest.mark.sandbox
def test_json_is_one_object(tmp_path: Path) -> None:
    result = sanderling("doctor", "--json", "--env", tmp_path / "none")

    told = json.loads(result.stdout)
    environment = next(f for f in told["findings"] if f["name"] == "guest environment")
    assert told["is_fit"] is False
    assert environment["status"] == "missing"
    assert environment["remedy"].startswith("sanderling setup")
