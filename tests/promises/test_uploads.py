"""
Large files: as large as OpenAI takes them, at a memory that does not grow with them.

One server as operators start it; the files are sparse here, so that only the server's disk is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from sanderling.environments.environment import Environment
from tests.cli.live import LiveServer, serving

pytestmark = pytest.mark.sandbox

LARGEST = 512 << 20
# What an upload may add to the server's memory, however large it is.
GROWTH_MAX = 100 << 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads") / "data"


@pytest.fixture(scope="module")
def server(data: Path, guest_env: Environment) -> Iterator[LiveServer]:
    with serving(data, "--env", str(guest_env.path)) as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=server.url,
        api_key="none",
        max_retries=0,
        timeout=120.0,
        _strict_response_validation=True,
    ) as client:
        yield client


def sparse(path: Path, size: int) -> Path:
    """Make a file of `size` bytes with something to be recognized by at both ends and between."""
    with path.open("wb") as file:
        file.truncate(size)
        for position in (0, size // 3, size - 16):
            file.seek(position)
            file.write(position.to_bytes(8, "big") + b"<marked>")
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_bytes(pid: int) -> int:
    """The most memory a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


def host_of(server: LiveServer) -> int:
    """The process number of the server's sandbox host."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    (pid,) = [
        int(child)
        for child in children.read_text().split()
        if b"sanderling.sandbox.host" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return pid


def blobs(data: Path) -> set[Path]:
    return {path for path in (data / "blobs").rglob("*") if path.is_file()}


def test_largest_file_goes_up_into_a_box_and_down_at_constant_memory(
    client: OpenAI, server: LiveServer, tmp_path: Path
):
    # A small one first, so that what every upload needs is there already.
    client.files.create(file=("small.bin", b"x" * (4 << 20)), purpose="user_data")
    processes = {"server": server.process.pid, "host": host_of(server)}
    before = {name: peak_bytes(pid) for name, pid in processes.items()}
    source = sparse(tmp_path / "large.bin", LARGEST)
    digest = sha256(source)

    with source.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="user_data")
    assert (uploaded.filename, uploaded.bytes) == ("large.bin", LARGEST)

    copy = tmp_path / "copy.bin"
    with client.files.with_streaming_response.content(uploaded.id) as response:
        response.stream_to_file(copy)
    assert sha256(copy) == digest
    copy.unlink()

    # The smallest tier, which has to hold the file besides what the code needs.
    container = client.containers.create(name="large", memory_limit="1g", file_ids=[uploaded.id])
    execution: Any = client.post(
        f"/containers/{container.id}/executions",
        body={
            "code": "import hashlib, os\n"
            "digest = hashlib.sha256()\n"
            "with open('/mnt/data/large.bin', 'rb') as file:\n"
            "    while chunk := file.read(1 << 20):\n"
            "        digest.update(chunk)\n"
            "print(os.path.getsize('/mnt/data/large.bin'), digest.hexdigest())"
        },
        cast_to=object,
    )
    assert execution["status"] == "ok", execution
    assert execution["outputs"] == [
        {"type": "logs", "stream": "stdout", "logs": f"{LARGEST} {digest}\n"}
    ]
    assert execution["files"] == []

    grown = {name: peak_bytes(pid) - before[name] for name, pid in processes.items()}
    assert [f"{name}: {size >> 20} MiB" for name, size in grown.items() if size > GROWTH_MAX] == []
    client.containers.delete(container.id)
    client.files.delete(uploaded.id)


def test_one_byte_more_is_refused_and_leaves_nothing(
    client: OpenAI, server: LiveServer, data: Path, tmp_path: Path
):
    left_before = blobs(data)
    listed_before = len(list(client.files.list()))
    source = sparse(tmp_path / "too_large.bin", LARGEST + 1)

    with source.open("rb") as file, pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=file, purpose="user_data")

    assert caught.value.status_code == 413
    assert caught.value.code == "file_too_large"
    assert caught.value.type == "invalid_request_error"
    assert blobs(data) <= left_before
    assert len(list(client.files.list())) == listed_before
    assert client.files.create(file=b"x", purpose="user_data").bytes == 1


def test_one_byte_more_is_refused_by_a_container_too(client: OpenAI, data: Path, tmp_path: Path):
    left_before = blobs(data)
    container = client.containers.create(name="too large")
    source = sparse(tmp_path / "too_large.bin", LARGEST + 1)

    with source.open("rb") as file, pytest.raises(openai.APIStatusError) as caught:
        client.containers.files.create(container.id, file=file)

    assert caught.value.status_code == 413
    assert list(client.containers.files.list(container.id)) == []
    assert blobs(data) <= left_before


def test_file_that_code_made_too_large_is_told_and_left_in_the_container(client: OpenAI):
    container = client.containers.create(name="made")

    execution: Any = client.post(
        f"/containers/{container.id}/executions",
        body={
            "code": "open('small.txt', 'w').write('small')\n"
            f"with open('made.bin', 'wb') as file:\n    file.truncate({LARGEST + 1})"
        },
        cast_to=object,
    )

    assert execution["status"] == "ok"
    assert [file["path"] for file in execution["files"]] == ["/mnt/data/small.txt"]
    told = "".join(output.get("logs", "") for output in execution["outputs"])
    assert "Too large to be downloaded: /mnt/data/made.bin." in told
