import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "lock.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lock_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_address_of_a_mirror_is_reported_with_its_line(script, tmp_path, capsys):
    path = tmp_path / "uv.lock"
    path.write_text('a\nsource = { registry = "https://mirror.example/simple" }\n')

    assert script.report_addresses(path) == 1
    assert f"{path}:2: not PyPI" in capsys.readouterr().err


def test_pypis_own_addresses_are_fine(script, tmp_path):
    path = tmp_path / "uv.lock"
    path.write_text("https://pypi.org/simple\nhttps://files.pythonhosted.org/packages/a.whl\n")

    assert script.report_addresses(path) == 0
