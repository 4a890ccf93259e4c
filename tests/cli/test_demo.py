from __future__ import annotations

from pathlib import Path

import pytest

from sanderling.cli.scenes import SCENES
from tests.cli.live import clean_environ, guest_env, sanderling


@pytest.mark.sandbox
def test_the_demo_answers_every_question_and_saves_the_files(tmp_path: Path) -> None:
    # A model server of the shell's is not asked: the demo is of the offline model.
    env = clean_environ(
        SANDERLING_ENV=str(guest_env()), SANDERLING_MODEL_URL="http://127.0.0.1:9/v1"
    )

    result = sanderling("demo", env=env, cwd=tmp_path, timeout=300)

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(SCENES)} of {len(SCENES)} questions were answered rightly." in result.stdout
    assert "38,696.84" in result.stdout
    assert (tmp_path / "demo-output" / "chart.png").read_bytes().startswith(b"\x89PNG")
    made = {path.suffix for path in (tmp_path / "demo-output").iterdir()}
    assert {".png", ".csv"} <= made
