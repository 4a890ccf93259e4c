from pathlib import Path

from sanderling.environments import environment


def test_folders_inside_others_are_left_out():
    folders = [Path("/usr"), Path("/usr/lib/python3.11"), Path("/usr2/bin"), Path("/opt/env")]

    assert (Path("/opt/env"), Path("/usr"), Path("/usr2/bin")) == environment.outermost(folders)


def test_a_folder_without_a_stamp_is_no_environment(tmp_path):
    assert environment.read(tmp_path) is None


def test_a_damaged_stamp_is_no_environment(tmp_path):
    (tmp_path / environment.STAMP_NAME).write_text('{"lock_digest": "x", "version": 3}')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()

    assert environment.read(tmp_path) is None


def test_links_on_the_way_to_the_interpreter_are_reported(tmp_path):
    """As uv's and pyenv's Pythons: a folder that is a link to the one with the patch version."""
    real = environment.ask_python(Path("/proc/self/exe").resolve())
    (tmp_path / "python-3").symlink_to(Path(real.base_executable).parent)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(tmp_path / "python-3" / Path(real.base_executable).name)

    folders = environment.ask_python(python).folders

    assert str(tmp_path / "python-3") in folders
    assert str(Path(real.base_executable).parent) in folders
