"""Fetch, serve, run, compare; see the package."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.conformance.scope import SUITES, VERSIONS, out_of_scope
from tests.conformance.seeding import MODELS, Seeder
from tests.contract.servers import LoopThread, memory_server
from tests.doubles.model_server import ModelServer
from tests.plain_user import kept_folder, run_uv

# What the tests import, of all versions together.
_NEEDS = (
    *("pytest", "pytest-asyncio", "pytest-xdist", "inline-snapshot", "rich", "respx"),
    *("nest-asyncio", "time-machine", "dirty-equals", "httpx-aiohttp"),
)


def fetched(folder: Path, version: str) -> tuple[Path, Path]:
    """Return the SDK's sources with their tests, and a Python that has the SDK; make them once."""
    sources, env = folder / f"openai-{version}", folder / "env"
    python = env / "bin" / "python"
    if not (folder / "done").exists():
        run_uv("venv", "--quiet", "--clear", "--seed", "--python", sys.executable, env)
        packages = (f"openai[aiohttp]=={version}", *_NEEDS)
        run_uv("pip", "install", "--quiet", "--python", python, *packages)
        wanted = ("--no-deps", "--no-binary", ":all:", "--dest", folder, f"openai=={version}")
        subprocess.run([python, "-m", "pip", "download", "--quiet", *wanted], check=True)
        with tarfile.open(folder / f"openai-{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        (folder / "done").touch()
    return sources, python


def run(sources: Path, python: Path, base_url: str, port: int, suites: list[str]) -> ET.Element:
    """Run the suites; return pytest's report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [python, "-m", "pytest", "-n", "0", "-q", "-p", "reseeding"]
        command += ["-p", "no:cacheprovider", "--durations=0", "--tb=line", f"--junitxml={report}"]
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")},
            "TEST_API_BASE_URL": base_url,
            "SEEDER_PORT": str(port),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(sources)]),
        }
        paths = [f"tests/api_resources/{suite}" for suite in suites]
        subprocess.run(
            [*command, *paths],
            cwd=sources,
            env=environ,
            check=False,
            capture_output="-v" not in sys.argv,
        )
        return ET.parse(report).getroot()


def judged(report: ET.Element, unwanted: set[str]) -> tuple[Counter[str], list[str]]:
    """Return how many tests ended how, and those that did not end as `scope.py` says."""
    counts: Counter[str] = Counter()
    wrong = []
    for case in report.iter("testcase"):
        module = case.attrib["classname"].removeprefix("tests.api_resources.").rpartition(".")[0]
        name = f"{module}::{case.attrib['name'].partition('[')[0]}"
        has_passed = case.find("failure") is None and case.find("error") is None
        is_in_scope = name not in unwanted
        counts[("passed" if has_passed else "failed") if is_in_scope else "out of scope"] += 1
        if has_passed != is_in_scope:
            wrong.append(f"{'fails' if is_in_scope else 'passes'}: {name} {case.attrib['name']}")
    return counts, wrong


def main() -> int:
    """Return 1 if a test in scope failed, or one out of scope passed."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    versions = [version for version in VERSIONS if version in words] or VERSIONS
    words = [word for word in words if word not in VERSIONS]
    suites = [suite for suite in SUITES if not words or any(word in suite for word in words)]
    loop = LoopThread()
    models = ModelServer([], models=MODELS)
    loop.run(models.__aenter__())
    try:
        return max([of_version(version, suites, loop, models.base_url) for version in versions])
    finally:
        loop.run(models.__aexit__(None, None, None))
        loop.close()


def of_version(version: str, suites: list[str], loop: LoopThread, model_url: str) -> int:
    """Run the suites of one version; say what came of it; return 1 if not all is as it must be."""
    seeder = Seeder()
    with (
        kept_folder(f"openai-suite-{version}") as folder,
        tempfile.TemporaryDirectory() as root,
    ):
        sources, python = fetched(folder, version)
        with memory_server(loop, Path(root), model_url, seeder.start) as base_url:
            report = run(sources, python, base_url, seeder.port, suites)
            loop.run(seeder.stop())
    counts, wrong = judged(report, out_of_scope(version))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"openai-python {version}: " + ", ".join(f"{n} {how}" for how, n in counts.items()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
