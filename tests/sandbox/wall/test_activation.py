"""The zygote is what its environment's own Python would be, from behind its wall on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sanderling.environments.environment import ask_python, write_stamp
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.spawner import Spawner
from tests.promises.probes import printed

pytestmark = pytest.mark.sandbox

WHO = """
import json, multiprocessing.spawn, os, site, sys, sysconfig
print(json.dumps({
    "executable": sys.executable,
    "base executable": sys._base_executable,
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, site.PREFIXES],
    "path": [path for path in sys.path if path],
    "flags": str(sys.flags),
    "sysconfig": sysconfig.get_paths(),
    "site": [site.getsitepackages(), site.ENABLE_USER_SITE],
    "spawned": os.fsdecode(multiprocessing.spawn.get_executable()),
}))
"""
# What Python, as it starts, would run of a package: {file: content}, each leaving its own name.
STARTUP = {
    "plain.pth": "import os; {leave}\n",
    ".pth": "import os; {leave}\n",
    "mark.pth": "\ufeffimport os; {leave}\n",
    "feed.pth": "there\x0cimport os; {leave}\n",
    "tab.pth": "import\tos; {leave}\n",
    "zz.pth": "elsewhere\n",
    "elsewhere/sitecustomize.py": "{leave}\n",
    "sitecustomize.py": "{leave}\n",
    "usercustomize/__init__.py": "{leave}\n",
}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An empty environment that leads to the interpreter of these tests."""
    folder = tmp_path / "env"
    subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", folder])
    # As when it is built: its Python is asked before anything is in it, and not again.
    write_stamp(folder, ask_python(folder / "bin" / "python"), lock_digest=None)
    return folder


@pytest.fixture
def site_packages(environment: Path) -> Path:
    [found] = environment.glob("lib/python3.*/site-packages")
    return found


async def said_inside(environment: Path, code: str) -> str:
    spawner = await Spawner.start(
        env=environment, disk_bytes=1 << 20, logs_bytes_max=1 << 20, preload=()
    )
    try:
        box = await spawner.spawn()
        await box.configure(BoxLimits(memory_bytes=1 << 30))
        said = await printed(box, code)
        box.kill()
        await box.wait_dead()
        box.release()
        return said
    finally:
        await spawner.close()


def said_here(environment: Path, code: str) -> str:
    command = [environment / "bin" / "python", "-I", "-B", "-c", code]
    return subprocess.check_output(command, text=True)


@pytest.mark.parametrize("sees_base", [False, True])
async def test_it_is_what_the_environments_own_python_is(
    environment: Path, sees_base: bool
) -> None:
    settings = environment / "pyvenv.cfg"
    text = settings.read_text()
    settings.write_text(text.replace("packages = false", f"packages = {sees_base}".lower()))
    inside = json.loads(await said_inside(environment, WHO))

    assert inside == json.loads(said_here(environment, WHO))


async def test_what_python_would_run_as_it_starts_does_not_run_on_this_machine(
    environment: Path, site_packages: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    for name, content in STARTUP.items():
        leave = f"open({str(trace / name.replace('/', '_'))!r}, 'w')"
        path = site_packages / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content.replace("{leave}", leave))

    assert await said_inside(environment, "print('up')") == "up"
    assert list(trace.iterdir()) == []


async def test_lines_of_pth_files_count_in_a_box(environment: Path, site_packages: Path) -> None:
    (site_packages / "more.pth").write_text("more\nimport sys; sys.been_here = True\n")
    (site_packages / "more").mkdir()
    (site_packages / "more" / "damson.py").write_text("stone = 1\n")

    said = await said_inside(environment, "import sys, damson; print(damson.stone, sys.been_here)")

    assert said == "1 True"
