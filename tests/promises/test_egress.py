"""
What the code of a container with an allowlist can reach: those domains, and nothing else.

A real server on a machine with an internet of its own (tests/doubles/internet.py), the official SDK
as the client, real boxes, and the programs that people use in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from openai import BadRequestError, OpenAI

from sanderling.environments.environment import Environment
from tests.doubles.internet import MACHINE, METADATA, SITE, Internet, internet, is_possible

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not is_possible, reason="an internet is made by root, `ip` and `openssl`"),
]

T = TypeVar("T")

DEADLINE_S = 60.0
READY = "Sanderling is listening on "
# What each program makes of an address: the page, or the words of the refusal.
FETCH = """
import urllib.error, urllib.request
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(error.reason)
"""
TRUST = "import os; os.environ |= dict.fromkeys(['SSL_CERT_FILE', 'CURL_CA_BUNDLE'], 'ca.pem')\n"


class Operator:
    """Who runs the server, and a client of it; both on the machine with the internet."""

    def __init__(self, net: Internet, data: Path, env: Path) -> None:
        self.net = net
        self.data = data
        self._env = env
        self._server: subprocess.Popen[str] | None = None
        self._client: OpenAI | None = None

    def start(self, domains: str) -> None:
        command = [sys.executable, "-m", "sanderling", "serve", "--port", "0"]
        command += ["--data", str(self.data), "--env", str(self._env)]
        command += ["--egress-domains", domains, "--pool-size", "1"]
        server = self.net.machine.run(
            lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        )
        assert server.stdout is not None
        self._server = server
        line = server.stdout.readline()
        if not line.startswith(READY):
            self.stop()
            raise AssertionError("the server did not start")
        self._client = OpenAI(
            base_url=line.removeprefix(READY).strip(), api_key="sk-any", max_retries=0
        )

    def stop(self) -> None:
        assert self._server is not None
        if self._client is not None:
            self._client.close()
            self._client = None
        self._server.send_signal(signal.SIGTERM)
        self._server.communicate(timeout=DEADLINE_S)

    def kill_host(self) -> None:
        pidfd = os.pidfd_open(int((self.data / "host" / "host.lock").read_text()))
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], DEADLINE_S)
        os.close(pidfd)

    def ask(self, question: Callable[[OpenAI], T]) -> T:
        client = self._client
        assert client is not None
        return self.net.machine.run(lambda: question(client))

    def container(self, *domains: str) -> str:
        """Create a container that may reach these domains; none: no policy."""
        policy: Any = {"type": "allowlist", "allowed_domains": list(domains)}
        more = {"network_policy": policy} if domains else {}

        def create(client: OpenAI) -> str:
            container = client.containers.create(name="x", **more)
            client.containers.files.create(
                container.id, file=("ca.pem", self.net.authority.encode())
            )
            return container.id

        return self.ask(create)

    def run(self, container_id: str, code: str) -> str:
        """Run code; return what it showed."""
        path = f"/containers/{container_id}/executions"
        done: Any = self.ask(
            lambda client: client.post(path, body={"code": TRUST + FETCH + code}, cast_to=object)
        )
        return "".join(o.get("logs") or o.get("text") or str(o) for o in done["outputs"]).strip()

    def audit(self, container_id: str, count: int) -> list[dict[str, Any]]:
        """Wait for that many lines about a container."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            with contextlib.suppress(FileNotFoundError):
                written = (self.data / "host" / "egress.log").read_text().splitlines()
                found = [json.loads(line) for line in written]
                if len(mine := [f for f in found if f["container_id"] == container_id]) >= count:
                    return mine
            time.sleep(0.02)
        raise AssertionError(f"fewer than {count} lines")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with internet(tmp_path_factory.mktemp("internet")) as made:
        yield made


@pytest.fixture(scope="module")
def operator(
    net: Internet, tmp_path_factory: pytest.TempPathFactory, guest_env: Environment
) -> Iterator[Operator]:
    made = Operator(net, tmp_path_factory.mktemp("data"), guest_env.path)
    made.start("*")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def site(operator: Operator) -> str:
    """A container that may reach one site."""
    return operator.container("site.example")


def test_an_allowed_domain_is_reached_by_the_programs_people_use(
    operator: Operator, site: str
) -> None:
    shown = operator.run(
        site,
        "import subprocess, pandas\n"
        "print(fetch('http://site.example/a?b=1'))\n"
        "print(fetch('https://site.example/c'))\n"
        "print(pandas.read_csv('https://site.example/table.csv').b.sum())\n"
        "for url in ('http://site.example/d', 'https://site.example/e'):\n"
        "    done = subprocess.run(['curl', '-sS', url], capture_output=True, text=True)\n"
        "    print(done.stdout or done.stderr)\n",
    )

    assert shown.splitlines() == [
        f"{SITE} site.example /a?b=1",
        f"{SITE} site.example /c",
        "2",
        f"{SITE} site.example /d",
        f"{SITE} site.example /e",
    ]


def test_what_is_sent_and_received_in_bulk_arrives_whole(operator: Operator, site: str) -> None:
    shown = operator.run(
        site,
        "for scheme in ('http', 'https'):\n"
        "    body = bytes(20_000_000)\n"
        "    print(urllib.request.urlopen(f'{scheme}://site.example/', data=body).read())\n",
    )

    assert shown == "b'20000000 bytes'\nb'20000000 bytes'"


def test_another_domain_is_refused_in_words_that_name_what_is_allowed(
    operator: Operator, site: str
) -> None:
    shown = operator.run(
        site, "for s in ('http', 'https'): print(fetch(f'{s}://other.example/'))"
    ).splitlines()

    told = "403 other.example is not allowed here; this container may reach only: site.example."
    assert shown == [told, f"Tunnel connection failed: {told}"]


def test_a_redirect_is_a_new_request_and_held_to_the_rules(operator: Operator, site: str) -> None:
    assert operator.run(site, "print(fetch('http://site.example/away'))").startswith(
        "403 other.example is not allowed here"
    )


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("inner.example", "(a private network)"),
        ("metadata.example", "(link-local)"),
        ("mixed.example", "(a private network)"),
        ("loop.example", "(loopback)"),
        ("machine.example", "the address of this machine"),
    ],
)
def test_a_domain_that_leads_inside_is_refused_though_it_is_allowed_and_answers(
    operator: Operator, name: str, what: str
) -> None:
    container = operator.container(name)
    shown = operator.run(
        container, f"print(fetch('http://{name}/'), '|', fetch('https://{name}/'))"
    )

    assert shown.count("403 ") == 2
    assert shown.count(what) == 2


def test_a_domain_that_changes_its_address_gets_what_was_looked_at(operator: Operator) -> None:
    operator.net.names["rebind.example"] = [[SITE], ["127.0.0.1"], [METADATA]]
    container = operator.container("rebind.example")
    shown = operator.run(container, "for _ in range(3): print(fetch('http://rebind.example/'))")

    first, *rest = shown.splitlines()
    assert first == f"{SITE} rebind.example /"
    assert [line[:4] for line in rest] == ["403 ", "403 "]
    entries = operator.audit(container, 3)
    assert [e["address"] for e in entries] == [SITE, None, None]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        METADATA,
        MACHINE,
        SITE,
        "localhost.",
        "machine",
    ],
)
def test_no_address_and_no_inner_name_is_reached_through_the_proxy(
    operator: Operator, site: str, host: str
) -> None:
    shown = operator.run(
        site,
        "import socket\n"
        f"for line in ('GET http://{host}/ HTTP/1.0', 'CONNECT {host}:443 HTTP/1.0'):\n"
        "    with socket.create_connection(('127.0.0.1', 3128)) as proxy:\n"
        "        proxy.sendall(line.encode() + b'\\r\\n\\r\\n')\n"
        "        print(proxy.recv(12).decode())\n",
    )

    assert shown == "HTTP/1.1 403\nHTTP/1.1 403"


def test_a_tunnel_speaks_tls_with_its_own_domain_only(operator: Operator, site: str) -> None:
    shown = operator.run(
        site,
        "import socket, ssl\n"
        "for name in ('site.example', 'other.example', None):\n"
        "    proxy = socket.create_connection(('127.0.0.1', 3128))\n"
        "    proxy.sendall(b'CONNECT site.example:443 HTTP/1.0\\r\\n\\r\\n')\n"
        "    assert b' 200 ' in proxy.recv(1000)\n"
        "    context = ssl.create_default_context(cafile='/mnt/data/ca.pem')\n"
        "    context.check_hostname = name is not None\n"
        "    try:\n"
        "        print(context.wrap_socket(proxy, server_hostname=name).version()[:3])\n"
        "    except ssl.SSLError as error:\n"
        "        print('DENIED' in str(error.reason))\n",
    )
    refused = [e for e in operator.audit(site, 1) if e["verdict"] == "refused" and e["reason"]]

    assert shown.split() == ["TLS", "True", "True"]
    assert any("'other.example' in a tunnel to site.example" in e["reason"] for e in refused)


def test_two_containers_do_not_reach_each_others_domains_and_one_without_any_none(
    operator: Operator, site: str
) -> None:
    other, none = operator.container("other.example"), operator.container()
    code = "print([fetch(f'http://{n}.example/')[:4] for n in ('site', 'other')])"

    assert operator.run(site, code) == "['93.1', '403 ']"
    assert operator.run(other, code) == "['403 ', '93.1']"
    assert "resolution" in operator.run(none, "print(fetch('http://site.example/'))")
    assert operator.run(
        none,
        "import socket\n"
        "try: socket.create_connection(('127.0.0.1', 3128))\n"
        "except OSError as error: print(error.strerror)",
    ) == ("Connection refused")


def test_each_request_is_written_down_without_what_may_be_secret(operator: Operator) -> None:
    container = operator.container("site.example")
    operator.run(container, "fetch('http://site.example/path-secret?query-secret')")
    operator.run(container, "fetch('https://site.example/path-secret')")
    plain, tunnel = operator.audit(container, 2)
    log = (operator.data / "host" / "egress.log").read_text()

    assert plain["organization_id"].startswith("org_")
    assert plain["organization_id"] == tunnel["organization_id"]
    assert (plain["method"], plain["port"], plain["status"]) == ("GET", 80, 200)
    assert (tunnel["method"], tunnel["port"], tunnel["status"]) == ("CONNECT", 443, 200)
    for entry in (plain, tunnel):
        assert (entry["domain"], entry["address"]) == ("site.example", SITE)
        assert entry["verdict"] == "allowed"
        assert entry["bytes_down"] > 0
        assert abs(entry["time"] - time.time()) < DEADLINE_S
    assert "secret" not in log


def test_the_container_of_a_response_reaches_what_the_request_allows(operator: Operator) -> None:
    policy: Any = {"type": "allowlist", "allowed_domains": ["site.example"]}
    source = "import urllib.request\nprint(urllib.request.urlopen('http://site.example/r').read())"
    response = operator.ask(
        lambda client: client.responses.create(
            model="any",
            input=f"Run this:\n```python\n{source}\n```",
            tools=[
                {
                    "type": "code_interpreter",
                    "container": {"type": "auto", "network_policy": policy},
                }
            ],
            include=["code_interpreter_call.outputs"],
        )
    )
    [call] = [item for item in response.output if item.type == "code_interpreter_call"]

    assert call.outputs is not None
    assert f"{SITE} site.example /r" in call.outputs[0].logs  # type: ignore[union-attr]


def test_the_policy_outlives_kernel_host_and_server_and_the_operator_can_take_it_back(
    net: Internet, tmp_path: Path, guest_env: Environment
) -> None:
    operator = Operator(net, tmp_path, guest_env.path)
    operator.start("site.example, other.example")
    container = operator.container("site.example", "other.example")
    code = "print([fetch(f'http://{n}.example/')[:4] for n in ('site', 'other', 'inner')])"
    with pytest.raises(BadRequestError) as refusal:
        operator.container("inner.example")
    assert refusal.value.param == "network_policy.allowed_domains"
    both = "['93.1', '93.1', '403 ']"
    try:
        assert operator.run(container, code) == both
        operator.run(container, "import os; os._exit(1)")
        assert operator.run(container, code) == both
        operator.kill_host()
        assert both in operator.run(container, code)
    finally:
        operator.stop()
    operator.start("site.example")
    try:
        assert "['93.1', '403 ', '403 ']" in operator.run(container, code)
    finally:
        operator.stop()
