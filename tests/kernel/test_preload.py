"""What the zygote loads, and the state in which that leaves the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sanderling
from sanderling.kernel import preload

LIBRARIES = (
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "PIL.Image",
    "openpyxl",
)


def run(python: str | Path, code: str, **environment: str) -> Any:
    """Run a script that has `preload`; return what it printed as JSON."""
    root = str(Path(sanderling.__file__).parents[1])
    start = f"import sys; sys.path.insert(0, {root!r})\nfrom sanderling.kernel import preload\n"
    done = subprocess.run(
        [str(python), "-I", "-c", start + "import gc, json, os\n" + code],
        stdout=subprocess.PIPE,
        check=True,
        env={"PATH": os.environ["PATH"], "MPLBACKEND": "agg", **environment},
    )
    return json.loads(done.stdout)


def test_libraries_are_loaded_used_once_and_leave_one_thread(
    guest_python: Path, tmp_path: Path
) -> None:
    code = (
        f"report = preload.preload({LIBRARIES!r})\n"
        "preload.freeze()\n"
        "print(json.dumps([report.modules, report.missing, len(os.listdir('/proc/self/task')),"
        " gc.get_freeze_count() > 100_000, sys.modules['matplotlib.pyplot'].get_fignums(),"
        " 'asyncio' in sys.modules]))"
    )
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}

    assert run(guest_python, code, **one) == [list(LIBRARIES), [], 1, True, [], True]


def test_a_child_of_the_preloaded_process_can_use_openmp(
    guest_python: Path, tmp_path: Path
) -> None:
    # If anything had run an OpenMP region before the fork, the child would hang in its first one.
    code = (
        f"preload.preload({LIBRARIES!r})\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    from sklearn.ensemble import HistGradientBoostingRegressor\n"
        "    HistGradientBoostingRegressor(max_iter=2).fit([[x] for x in range(50)], range(50))\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}

    assert run(guest_python, code, **one) == 0


def test_what_is_not_installed_is_reported(python: str) -> None:
    code = (
        "report = preload.preload(('json.decoder', 'no_such_library', 'no_such.module'))\n"
        "print(json.dumps([report.modules, report.missing]))"
    )

    assert run(python, code) == [["json.decoder"], ["no_such_library", "no_such.module"]]


def test_what_is_required_and_not_installed_is_an_error_that_names_it(python: str) -> None:
    code = (
        "try: preload.preload(('json', 'gone', 'far.gone'), required=('json', 'far.gone'))\n"
        "except preload.PreloadFailed as error: print(json.dumps(str(error)))"
    )

    assert run(python, code) == "Not installed in this environment: far.gone."


def test_what_each_module_took_is_reported(python: str, tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(
        "import time; kept = b'x' * (32 << 20); time.sleep(0.05)  # what is measured is time\n"
    )
    code = (
        f"sys.path.append({str(tmp_path)!r})\n"
        "costs = preload.preload(('large', 'gone', 'small_enough', 'json')).costs\n"
        "print(json.dumps([[cost.name, cost.ms, cost.bytes] for cost in costs]))"
    )
    costs = {name: (ms, bytes) for name, ms, bytes in run(python, code)}

    assert list(costs) == [preload.STANDARD, "large", "json"]
    assert costs["large"][0] >= 50
    assert costs["large"][1] >= 32 << 20
    assert costs["json"][1] < 1 << 20


def test_whatever_a_library_raises_can_be_told_from_a_fault_of_the_wall(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "angry.py").write_text("raise OSError('no')")
    code = (
        f"sys.path.append({str(tmp_path)!r})\n"
        "try: preload.preload_or_fail(('angry',), ())\n"
        "except preload.PreloadFailed as error: print(json.dumps(str(error)))"
    )

    assert run(python, code) == "OSError: no"


def test_a_library_that_lacks_what_it_needs_is_an_error(python: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_there")
    code = (
        f"sys.path.append({str(tmp_path)!r})\n"
        "try: preload.preload(('broken',))\n"
        "except ModuleNotFoundError as error: print(json.dumps(error.name))"
    )

    assert run(python, code) == "not_there"


def test_what_a_library_forgets_in_a_child_it_forgets_once_before(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "forgetful.py").write_text(
        "import os\nopened = [1]\nos.register_at_fork(after_in_child=opened.clear)\n"
    )
    code = (
        f"sys.path.append({str(tmp_path)!r}); register = os.register_at_fork\n"
        "preload.preload(('forgetful',)); import forgetful\n"
        "print(json.dumps([forgetful.opened, os.register_at_fork is register]))"
    )

    assert run(python, code) == [[], True]


def test_a_library_that_starts_threads_is_an_error(python: str, tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    code = (
        f"sys.path.append({str(tmp_path)!r})\n"
        "try: preload.preload(('threads',))\n"
        "except preload.PreloadFailed as error: print(json.dumps(str(error)))"
    )

    assert "started 1 threads (threads)" in run(python, code)


def test_the_standard_modules_exist_in_every_supported_python() -> None:
    # In a process of its own: the one that runs the tests has threads of other tests.
    code = "from sanderling.kernel import preload; print(preload.preload(()).missing)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("()\n", "")


def test_libraries_are_set_to_what_boxes_and_notebooks_have(guest_python: Path) -> None:
    code = (
        "preload.preload(('pandas', 'sklearn.ensemble'))\n"
        "import pandas; from joblib.externals.loky.backend import context\n"
        "print(json.dumps([pandas.get_option('display.max_columns'),"
        " context.physical_cores_cache == os.cpu_count()]))"
    )

    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    assert run(guest_python, code, **one) == [20, True]


def test_old_spreadsheets_have_the_engine_that_lasts_if_it_is_installed(
    guest_python: Path,
) -> None:
    hide = "sys.modules['python_calamine'] = None\n"  # as if it were not installed
    code = (
        "preload.preload(('pandas',)); import pandas\n"
        "print(json.dumps([pandas.get_option(f'io.excel.{kind}.reader')"
        " for kind in ('xlsx', 'xls', 'xlsb')]))"
    )

    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    assert run(guest_python, code, **one) == ["openpyxl", "calamine", "calamine"]
    assert run(guest_python, hide + code, **one) == ["openpyxl", "auto", "auto"]


@pytest.mark.parametrize("name", preload.STANDARD_MODULES)
def test_a_standard_module_is_named_once(name: str) -> None:
    assert preload.STANDARD_MODULES.count(name) == 1
