"""`sanderling env` as an operator types it, and containers with what it made."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.cli.live import LiveServer, clean_environ, sanderling, serving
from tests.environments.wheels import offline, wheel

REQUIREMENTS = "shortuuid==1.0.13\nhumanize>=4.9,<5  # pure Python, both\n"
USES_IT = "import humanize, shortuuid\nhumanize.intcomma(10**6), len(shortuuid.uuid())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the environment `tiny`, of packages from the real index."""
    root = tmp_path_factory.mktemp("named")
    (root / "requirements.txt").write_text(REQUIREMENTS)
    made = env(root, "create", "tiny", "-r", root / "requirements.txt", "--bare", "--json")

    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["packages"] == 2
    assert "Resolving" in made.stderr
    assert "ready" in made.stderr
    return root


def env(root: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return sanderling("env", *arguments, env=variables(root, **more))


def named(root: Path) -> list[dict[str, Any]]:
    """Return what `env list` lists beside the default environment."""
    listed = json.loads(env(root, "list", "--json").stdout)
    return [each for each in listed if each["name"] != "default"]


def variables(root: Path, **more: str) -> dict[str, str]:
    return clean_environ(SANDERLING_ENVIRONMENTS=str(root / "environments"), **more)


def test_it_is_listed_and_shown(folder: Path):
    [only] = named(folder)
    shown = json.loads(env(folder, "show", "tiny", "--json").stdout)
    for_people = env(folder, "show", "tiny").stdout

    assert (only["name"], only["packages"], only["bare"]) == ("tiny", 2, True)
    assert only["bytes"] > 0
    assert shown["packages"]["shortuuid"] == "1.0.13"
    assert shown["requirements"] == REQUIREMENTS
    assert re.search(
        r"^tiny  Python 3\.\S+  2 packages  ", env(folder, "list").stdout, re.MULTILINE
    )
    assert "  shortuuid 1.0.13\n" in for_people


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "tiny", "-r", "requirements.txt"), "--replace"),
        (("create", "b", "-r", "gone.txt"), "gone.txt cannot be read: No such file"),
        (("create", "B", "-r", "requirements.txt"), "is not a name for an environment"),
        (("create", "b", "-r", "requirements.txt", "--preload", "a-b"), "is not the name of a mod"),
        (("show", "b"), "There are: tiny."),
        (("remove", "b"), "There are: tiny."),
        (("remove", "default"), "The default environment is not removed"),
        (("list", "--environments", "requirements.txt"), "cannot be read: Not a directory"),
        (("show", "b", "--environments", "requirements.txt"), "cannot be read: Not a directory"),
        (
            ("create", "b", "-r", "requirements.txt", "--environments", "requirements.txt"),
            "Name a folder that you may write with --environments",
        ),
    ],
)
def test_a_mistake_is_one_sentence(folder: Path, arguments: tuple[str, ...], words: str):
    done = sanderling("env", *arguments, env=variables(folder), cwd=folder)

    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--upgrade", "--force"])
def test_a_flag_of_a_replacement_without_it_says_what_to_say(folder: Path, flag: str):
    done = env(folder, "create", "tiny", "-r", folder / "requirements.txt", "--bare", flag)

    assert done.returncode == 2
    assert f"There is an environment 'tiny' already, and {flag} alone" in done.stderr
    assert f"say --replace {flag}." in done.stderr


def test_the_default_environment_is_listed_and_shown_like_any(folder: Path, tmp_path: Path):
    root = tmp_path / "default"
    (tmp_path / "r.txt").write_text("plum\n")
    wheel(tmp_path / "index", "plum")
    known = offline(tmp_path / "index")
    assert env(tmp_path, "create", "a", "-r", tmp_path / "r.txt", "--bare", **known).returncode == 0
    (tmp_path / "environments" / "a").rename(root)
    listed = env(folder, "list", "--env", root)
    shown = json.loads(env(folder, "show", "default", "--env", root, "--json").stdout)
    absent = env(folder, "list", "--env", tmp_path / "nowhere")

    assert re.match(r"default  Python 3\.\S+  1 package  \d+ MiB  20", listed.stdout)
    assert shown["packages"] == {"plum": "1.0"}
    assert shown["path"] == str(root)
    assert absent.stdout.startswith("tiny  ")
    assert absent.stderr.startswith("default  ")
    assert "sanderling setup --env" in absent.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nosuchpackage", "The package index has no package 'nosuchpackage'"),
        ("plum==9", "The package index has no version 'plum==9'"),
        ("plum ==== 9", "is no requirement"),
        ("plum<1\nplum>=1", "contradict each other"),
    ],
)
def test_requirements_that_cannot_be_had_are_one_sentence(tmp_path: Path, line: str, words: str):
    wheel(tmp_path / "index", "plum")
    path = tmp_path / "bad.txt"
    path.write_text(f"{line}\n")
    done = env(tmp_path, "create", "bad", "-r", path, "--bare", **offline(tmp_path / "index"))

    *_, last = done.stderr.splitlines()
    assert done.returncode == 1
    assert words in last
    assert "Traceback" not in done.stderr
    assert named(tmp_path) == []


def test_an_index_that_cannot_be_reached_is_told_so(tmp_path: Path):
    path = tmp_path / "r.txt"
    path.write_text("plum\n")
    nobody = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    done = env(tmp_path, "create", "a", "-r", path, "--bare", **nobody)

    assert done.returncode == 1
    assert "The package index cannot be reached." in done.stderr


def test_a_build_that_was_killed_is_taken_up_again(tmp_path: Path):
    wheel(tmp_path / "index", "plum")
    path = tmp_path / "r.txt"
    path.write_text("plum\n")
    known = variables(tmp_path, **offline(tmp_path / "index"))
    command = [sys.executable, "-m", "sanderling", "env", "create", "a", "-r", str(path), "--bare"]
    with subprocess.Popen(
        command, env=known, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("Building the environment"):
                os.killpg(first.pid, signal.SIGKILL)
                break
    listed = named(tmp_path)
    wheel(tmp_path / "index", "plum", "2.0")
    again = subprocess.run(command, env=known, capture_output=True, text=True, check=False)

    assert listed == []
    assert again.returncode == 0, again.stderr
    assert "Taking up the interrupted build again" in again.stderr
    shown = env(tmp_path, "show", "a", "--json")
    assert json.loads(shown.stdout)["packages"] == {"plum": "1.0"}
    assert sorted(os.listdir(tmp_path / "environments")) == [".a.lock", "a"]


# ---- real boxes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LiveServer]:
    flags = ["--environments", str(folder / "environments"), "--preload", "none"]
    with serving(folder / "data", *flags) as made:
        yield made


@pytest.fixture
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def run(client: OpenAI, container_id: str, code: str) -> Any:
    path = f"/containers/{container_id}/executions"
    return client.post(path, body={"code": code}, cast_to=object)


@pytest.mark.sandbox
def test_a_container_has_the_environment_it_was_made_with_and_keeps_it_from_removal(
    client: OpenAI, folder: Path
):
    usual = client.containers.create(name="usual")
    tiny = client.containers.create(name="tiny", extra_body={"environment": "tiny"})
    answers = [run(client, made.id, USES_IT) for made in (tiny, usual)]
    refused = env(folder, "remove", "tiny")
    listed = named(folder)
    for made in (tiny, usual):
        client.containers.delete(made.id)

    assert tiny.environment == "tiny"  # type: ignore[attr-defined]
    assert usual.environment == "default"  # type: ignore[attr-defined]
    assert answers[0]["outputs"][0]["text"] == "('1,000,000', 22)"
    assert answers[1]["status"] == "error"
    assert "ModuleNotFoundError" in json.dumps(answers[1]["outputs"])
    assert refused.returncode == 1
    assert "in use: containers have boxes with it" in refused.stderr
    assert len(listed) == 1


@pytest.mark.sandbox
def test_the_container_of_a_response_has_the_environment_of_its_tool(client: OpenAI):
    tools: Any = [
        {"type": "code_interpreter", "container": {"type": "auto", "environment": "tiny"}}
    ]
    response = client.responses.create(model="any", input="What is 17 * 23?", tools=tools)
    [container_id] = {
        item.container_id for item in response.output if item.type == "code_interpreter_call"
    }
    container = client.containers.retrieve(container_id)
    client.containers.delete(container_id)

    assert container.environment == "tiny"  # type: ignore[attr-defined]
    assert "391" in response.output_text


@pytest.mark.sandbox
def test_an_environment_that_is_not_there_is_a_bad_request_that_names_those_that_are(
    client: OpenAI,
):
    with pytest.raises(BadRequestError) as refusal:
        client.containers.create(name="x", extra_body={"environment": "nope"})

    assert refusal.value.param == "environment"
    assert "'default', 'tiny'" in refusal.value.message


@pytest.mark.sandbox
def test_exec_runs_in_it_here_and_on_a_server(folder: Path, server: LiveServer, tmp_path: Path):
    command = ("exec", "-c", USES_IT, "--environment", "tiny", "--json", "--out", tmp_path)
    here = sanderling(*command, env=variables(folder))
    there = sanderling(*command, "--base-url", server.url, env=clean_environ())
    gone = sanderling("exec", "-c", "1", "--environment", "nope", env=variables(folder))

    for done in (here, there):
        assert done.returncode == 0, done.stderr
        assert "('1,000,000', 22)" in done.stdout
    assert gone.returncode == 125
    assert "There are: tiny." in gone.stderr


@pytest.mark.sandbox
def test_what_is_preloaded_is_measured(folder: Path):
    done = env(folder, "measure", "tiny", "--json")
    measured = json.loads(done.stdout)
    for_people = env(folder, "measure", "tiny").stdout

    assert [module["name"] for module in measured["modules"]] == ["(standard library)"]
    assert measured["modules"][0]["ms"] > 0
    assert measured["modules"][0]["bytes"] > 0
    assert "numpy" in measured["missing"]
    assert measured["preload_ms"] >= measured["modules"][0]["ms"]
    assert "not installed: numpy" in for_people


@pytest.mark.sandbox
def test_a_module_that_must_be_preloaded_and_is_not_there_stops_the_start():
    command = ("exec", "-c", "1", "--preload", "json, nosuchmodule")
    done = sanderling(*command, env=clean_environ())

    assert done.returncode == 125
    assert "Not installed in this environment: nosuchmodule" in done.stderr.splitlines()[-1]
