"""
Schemathesis, unmodified, asks a server with boxes what its description says, and what it forbids.

It lives in an environment of its own, built by uv once and kept in /var/tmp: the tests need it as a
program. Few examples and a seed, so that each run asks the same; more by hand:

    schemathesis run http://127.0.0.1:8000/openapi.json --max-examples 100
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.live import clean_environ, serving
from tests.plain_user import kept_folder, run_uv

pytestmark = pytest.mark.sandbox

VERSION = "4.32.5"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,unsupported_method"
)


@pytest.fixture(scope="module")
def schemathesis() -> Iterator[Path]:
    with kept_folder(f"schemathesis-{VERSION}") as folder:
        env, done = folder / "env", folder / "done"
        if not done.exists():
            run_uv("venv", "--quiet", "--clear", "--python", sys.executable, env)
            python = env / "bin" / "python"
            run_uv("pip", "install", "--quiet", "--python", python, f"schemathesis=={VERSION}")
            done.touch()
        yield env / "bin" / "schemathesis"


def test_no_request_of_a_fuzzer_breaks_the_server_or_its_word(schemathesis: Path, tmp_path: Path):
    flags = ("--file-bytes-max", "1m", "--execution-timeout-s", "5", "--pool-size", "1")
    with serving(tmp_path / "data", *flags) as server:
        done = subprocess.run(
            [
                schemathesis,
                "run",
                server.url.removesuffix("/v1") + "/openapi.json",
                *("--phases", "coverage,fuzzing", "--max-examples", "2", "--seed", "1"),
                *("--checks", CHECKS, "--warnings", "off", "--no-color"),
                *("--generation-database", "none"),
            ],
            cwd=tmp_path,
            env=clean_environ(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
