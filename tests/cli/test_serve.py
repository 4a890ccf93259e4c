from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import httpx
import openai
import pytest

from sanderling.cli.serving import KEEP_ALIVE_S, base_url, listen
from sanderling.errors import SetupError
from tests.cli.live import LiveServer, clean_environ, guest_env, sanderling, serving

SLEEPER = "Run this:\n```python\nimport time\nprint('begun', flush=True)\ntime.sleep(600)\n```"


# ---- what needs no boxes ----------------------------------------------------------------------


def test_a_port_that_is_taken_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = sanderling("serve", "--port", port, "--data", tmp_path)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"Port {port} on 127.0.0.1 is taken by another program; choose another with --port, or 0 "
        "for a free one.\n"
    )


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SetupError, match=r"^192\.0\.2\.1 is not an address of this machine"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(SetupError, match=str(port)):
        listen("127.0.0.1", port)


def test_the_url_names_the_port_that_was_really_taken() -> None:
    with listen("127.0.0.1", 0) as listener:
        url = base_url("127.0.0.1", listener)

        assert url == f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        assert base_url("::1", listener).startswith("http://[::1]:")


def test_a_client_lets_go_of_an_idle_connection_before_the_server_does() -> None:
    expiry = httpx.Limits().keepalive_expiry

    assert expiry is not None
    assert expiry < KEEP_ALIVE_S


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = sanderling("serve", "--port", "0", "--data", tmp_path / "file" / "data")

    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(r"The data folder .*/file/data cannot be used: .*\n", result.stderr)


def test_others_may_not_reach_a_server_without_keys(tmp_path: Path) -> None:
    result = sanderling("serve", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path)

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("0.0.0.0 can be reached from other machines")
    assert result.stderr.endswith("Create one with: sanderling keys create NAME\n")
    assert result.stderr.count("\n") == 1


def test_a_missing_guest_environment_says_what_to_run(tmp_path: Path) -> None:
    result = sanderling(
        "serve", "--port", "0", "--data", tmp_path / "data", "--env", tmp_path / "none"
    )

    assert result.returncode == 1
    assert result.stdout == ""
    assert "Run `sanderling setup" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_wrong_setting_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("prot = 8000\n")

    result = sanderling("serve", "--config", file)

    assert result.returncode == 1
    assert "unknown settings: prot" in result.stderr


def test_print_settings_starts_nothing() -> None:
    result = sanderling("serve", "--port", "9000", "--print-settings")

    assert result.returncode == 0
    assert "\nport = 9000\n" in result.stdout


def test_a_signal_before_the_server_is_ready_ends_it_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sanderling", "serve", "--port", "0", "--log-level", "info"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path), "--env", str(guest_env())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "server.starting" in line:
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert out == ""
    assert "Traceback" not in err


# ---- a server at work ------------------------------------------------------------------------


@pytest.mark.sandbox
def test_a_server_says_one_line_answers_and_ends_with_0(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", server.url)
        health = server.url.removesuffix("/v1") + "/health"
        with urllib.request.urlopen(health, timeout=30) as reply:
            assert json.load(reply)["status"] == "ok"

        code, rest = server.stop()

    assert (code, rest) == (0, "")
    assert server.stderr.read_text() == ""


@pytest.mark.sandbox
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_stream_gets_its_last_event_when_the_server_stops(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path / "data") as server:
        events = _events_until_stopped(server, number)

    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error.message == "The server is shutting down."
    assert [e.sequence_number for e in events] == list(range(len(events)))


def _events_until_stopped(server: LiveServer, number: signal.Signals) -> list[object]:
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
    events = []
    ended: list[tuple[int, str]] = []
    with (
        client,
        client.responses.create(
            model="offline",
            input=SLEEPER,
            tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
            stream=True,
        ) as stream,
    ):
        stopper: threading.Thread | None = None
        for event in stream:
            events.append(event)
            if event.type == "response.code_interpreter_call.interpreting":
                stopper = threading.Thread(target=lambda: ended.append(server.stop(number)))
                stopper.start()
        assert stopper is not None
        stopper.join()
    assert ended == [(0, "")]
    return events


@pytest.mark.sandbox
def test_a_machine_that_cannot_isolate_as_asked_is_refused(tmp_path: Path) -> None:
    flags = ["--port", "0", "--data", tmp_path / "data", "--env", guest_env()]

    result = sanderling("serve", *flags, "--min-isolation", "vm")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "'vm'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.sandbox
def test_two_servers_cannot_share_a_data_folder(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        result = sanderling(
            "serve", "--port", "0", "--data", tmp_path / "data", "--env", guest_env()
        )

    assert result.returncode == 1
    assert result.stdout == ""
    assert str(server.process.pid) in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.sandbox
def test_a_server_for_a_program_ends_when_its_input_closes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sanderling", "serve", "--port", "0", "--until-stdin-closes"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path), "--env", str(guest_env())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Sanderling is listening on")

    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.sandbox
def test_a_key_made_while_the_server_runs_is_heeded_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        key = sanderling("keys", "create", "test", "--data", data).stdout.strip()
        with (
            openai.OpenAI(base_url=server.url, api_key="wrong", max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError),
        ):
            stranger.files.list()
        with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as owner:
            assert list(owner.files.list()) == []
