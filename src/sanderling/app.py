"""
The composition root: the one place that knows every concrete part and how they hang together.

Parts are opened in the order they lean on each other and closed in the reverse order, so each may
count on its partners for as long as it lives. Whatever makes a start impossible is found here,
before the first request, and is one sentence that says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import ipaddress
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sanderling.api.services import Services
from sanderling.clock import Clock, SystemClock
from sanderling.containers.expiry import expire_forever
from sanderling.containers.registry import Containers
from sanderling.environments import locate
from sanderling.environments.catalog import DEFAULT, Catalog
from sanderling.errors import SandboxError, SanderlingError, SetupError
from sanderling.models.base import Model
from sanderling.models.chat import ChatModel
from sanderling.models.offline import OfflineModel
from sanderling.observe import logs
from sanderling.runs.feed import Feed
from sanderling.runs.recovery import recover
from sanderling.runs.retention import sweep_forever
from sanderling.runs.runner import Runner
from sanderling.sandbox.client import HostClient
from sanderling.sandbox.egress import domains
from sanderling.sandbox.kept_host import KeptHost
from sanderling.sandbox.launch import launch
from sanderling.settings import Settings
from sanderling.store.store import Store

# Where the key of the model server is read from, best first. Never a flag: a command line can be
# read by every user of the machine.
MODEL_KEY_VARIABLES = ("SANDERLING_MODEL_KEY", "OPENAI_API_KEY")
# How long the bytes of an expired file may stay on the disk; nobody is given it meanwhile.
_TIDY_EVERY_S = 600.0


@asynccontextmanager
async def open_services(
    settings: Settings, *, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Services]:
    """
    Open every part of a server; the sandbox host is a process of its own, ready to make boxes.

    Raises:
        SetupError: the data folder, the guest environment or the keys are not as they must be.
        SandboxError: this machine cannot host boxes as asked.
    """
    version = importlib.metadata.version("sanderling")
    logs.info("server.starting", data=settings.data, version=version)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.data, sole=True, clock=clock)
        stack.push_async_callback(store.close)
        opened_at = clock.now()
        await _refuse_strangers(settings.host, store)
        egress_domains = _egress_domains(settings.egress_domains)
        sandbox = await stack.enter_async_context(_open_host(settings))
        model = _make_model(settings, environ)
        stack.push_async_callback(model.aclose)
        containers = Containers(
            store,
            sandbox,
            clock,
            idle_minutes=settings.container_idle_minutes,
            file_bytes_max=settings.file_bytes_max,
            container_bytes_max=settings.box_disk_bytes,
            files_kept_s=settings.files_kept_s,
            egress_domains=egress_domains,
            box_cpus=settings.box_cpus,
            environments=Catalog(settings.environments_folder),
            environment=settings.environment,
        )
        stack.push_async_callback(containers.close)
        runner = await _open_runner(settings, store, model, containers, clock)
        stack.push_async_callback(runner.close)
        for name, work in (
            ("expiry", expire_forever(containers)),
            ("retention", sweep_forever(runner)),
            ("tidying", _tidy(store, containers, opened_at)),
        ):
            stack.enter_context(_background(name, work))
        yield Services(settings, store, containers, runner, model, sandbox, clock)


async def _refuse_strangers(host: str, store: Store) -> None:
    """Refuse to let others reach a server that runs code for whoever asks."""
    if not _is_loopback(host) and not await store.keys.any_active():
        raise SetupError(
            f"{host} can be reached from other machines, and there are no API keys yet: anybody "
            "could run code here. Create one with: sanderling keys create NAME"
        )


def _egress_domains(text: str) -> tuple[str, ...]:
    try:
        return domains.operators_list(text)
    except domains.NotADomain as error:
        raise SetupError(f"--egress-domains: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name can point anywhere, and elsewhere tomorrow; this one cannot (RFC 6761, 6.3).
        return host == "localhost"


@asynccontextmanager
async def _open_host(settings: Settings) -> AsyncIterator[HostClient]:
    environment = locate.find(settings.env)
    if settings.environment not in (None, DEFAULT):
        Catalog(settings.environments_folder).get(settings.environment)
    launching = functools.partial(
        launch,
        env=environment.path,
        data=settings.data,
        pool_size=settings.pool_size,
        boxes_max=settings.boxes_max,
        boxes_per_tenant_max=settings.boxes_per_organization_max,
        executions_max=settings.executions_max,
        disk_bytes=settings.box_disk_bytes,
        logs_bytes_max=settings.logs_bytes_max,
        isolation=settings.isolation,
        min_isolation=settings.min_isolation,
        egress_domains=settings.egress_domains,
        preload=settings.preload,
        environments=settings.environments_folder,
        environment=settings.environment,
        environments_max=settings.environments_max,
        environment_idle_s=settings.environment_idle_s,
    )
    _, process = await launching()
    host = KeptHost(process, launching)
    try:
        status = await host.client.status()
        logs.info("host.found", pid=host.pid, isolation=status.isolation)
        yield host.client
    finally:
        await _end_host(host)


async def _end_host(host: KeptHost) -> None:
    try:
        await host.stop()
    except SandboxError as error:
        # It is gone, or will be found and used, or replaced, by the next start.
        logs.warning("host.lost", reason=error.message)


def _make_model(settings: Settings, environ: Mapping[str, str]) -> Model:
    if settings.model_url is None:
        return OfflineModel()
    if not settings.model_url.startswith(("http://", "https://")):
        raise SetupError(
            f"--model-url: {settings.model_url!r} is not a URL; write http://HOST:PORT/v1."
        )
    key = next((environ[name] for name in MODEL_KEY_VARIABLES if environ.get(name)), None)
    return ChatModel(
        settings.model_url,
        api_key=key,
        model_name=settings.model_name,
        timeout_s=settings.model_timeout_s,
        execution_timeout_s=settings.execution_timeout_s,
        text_calls=settings.model_text_calls,
    )


async def _open_runner(
    settings: Settings, store: Store, model: Model, containers: Containers, clock: Clock
) -> Runner:
    feed = Feed(store)
    # Before anybody may follow a run: what a killed server left must have come to an end.
    await recover(store, feed, clock)
    return Runner(
        store=store,
        model=model,
        containers=containers,
        feed=feed,
        clock=clock,
        max_turns=settings.max_turns,
        execution_timeout_s=settings.execution_timeout_s,
        model_logs_chars_max=settings.model_logs_chars_max,
        shows_images=settings.model_images,
    )


async def _tidy(store: Store, containers: Containers, opened_at: float) -> None:
    """
    Delete, once per start, the bytes that a crash left behind; then files whose time is over.

    The store is this server's alone: what was there as it was opened at `opened_at`, before the
    first request, and is referred to by nothing, nobody is going to refer to.
    """
    await store.sweep_blobs(written_before=opened_at)
    while True:
        try:
            await store.forget_expired_files()
            await store.forget_expired_uploads()
            await containers.discard_due()
        except SanderlingError as error:  # a full disk; it may have room again
            logs.error("sweep.failed", reason=error.message)
        await asyncio.sleep(_TIDY_EVERY_S)


@contextlib.contextmanager
def _background(name: str, work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Own `work` for as long as the block lasts; a fault in it is logged and stops nothing else."""

    async def watched() -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 (nobody waits for this task)
            logs.error("server.background_failed", cause=error, task=name)

    task = asyncio.get_running_loop().create_task(watched(), name=name)
    try:
        yield
    finally:
        task.cancel()
