"""The supervisor, its workers and its lease as real processes."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker import pki
from broker.config.locations import Locations
from broker.events import Kind
from broker.model import ProxyStatus
from broker.proxy import private
from broker.runtime import hosting, open_service
from broker.runtime.hosting import LeasedProxy
from broker.runtime.proxy_file import read_status
from broker.runtime.serving import workers_of
from broker.runtime.worker_life import life_of
from broker.service.port import Service

pytestmark = pytest.mark.qemu


@asynccontextmanager
async def hosted(
    locations: Locations, log_file: Path | None = None
) -> AsyncIterator[tuple[LeasedProxy, ProxyStatus]]:
    """A proxy of our own; ended, whatever the test did."""
    proxy = LeasedProxy(locations.proxy_json, log_file or locations.logs_dir / "proxy.log")
    try:
        yield proxy, await proxy.host()
    finally:
        status = proxy.status()
        await proxy.leave(keep_sessions=False)
        for pid in (status.pid, *status.workers):
            if pid:
                await gone(pid)


async def until(condition: Callable[[], object]) -> None:
    """Files and processes of others tell nobody when they change, so this one looks."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)  # nothing tells us


async def gone(pid: int) -> None:
    await until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def tls_hello(status: ProxyStatus, locations: Locations) -> str:
    """Connect as a viewer would; returns the TLS version spoken."""
    identity = pki.read_identity(locations.pki_dir)
    assert identity is not None
    context = ssl.create_default_context(cadata=identity.ca_pem)
    with (
        socket.create_connection(("127.0.0.1", status.tls_port or 0), timeout=90) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        return secured.version() or ""


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    async with open_service() as opened:
        yield opened


async def test_viewers_can_connect_once_it_serves(locations: Locations) -> None:
    async with hosted(locations) as (_, status):
        assert status.serving
        assert await asyncio.to_thread(tls_hello, status, locations) in ("TLSv1.2", "TLSv1.3")
        assert all(life_of(worker) for worker in status.workers)


async def test_ending_the_lease_ends_everything(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "END_SECONDS", 90.0)
    async with hosted(locations) as (proxy, status):
        await proxy.leave(keep_sessions=False)
        assert not proxy.status().serving
        assert not is_running(status.pid or 0)
        assert not any(is_running(worker) for worker in status.workers)


async def test_keeping_sessions_lets_an_idle_proxy_go(locations: Locations) -> None:
    async with hosted(locations) as (proxy, status):
        await proxy.leave(keep_sessions=True)
        await gone(status.pid or 0)
        await until(lambda: not any(is_running(worker) for worker in status.workers))


async def test_two_faces_share_one_proxy(locations: Locations) -> None:
    async with hosted(locations) as (_, status):
        second = LeasedProxy(locations.proxy_json, locations.logs_dir / "proxy.log")
        shared = await second.host()
        assert (shared.pid, shared.ours, status.ours) == (status.pid, False, True)
        await second.leave(keep_sessions=False)
        assert read_status(locations.proxy_json).serving


async def test_two_faces_that_start_at_once_share_one_proxy(locations: Locations) -> None:
    faces = [LeasedProxy(locations.proxy_json, locations.logs_dir / "proxy.log") for _ in "ab"]
    statuses = await asyncio.gather(*(face.host() for face in faces))
    for face in faces:
        await face.leave(keep_sessions=False)
    assert len({status.pid for status in statuses}) == 1
    await gone(statuses[0].pid or 0)


async def test_a_worker_that_is_killed_is_replaced_on_the_same_port(locations: Locations) -> None:
    async with hosted(locations) as (proxy, status):
        await until(lambda: len(proxy.status().workers) == workers_of(0))
        worker = proxy.status().workers[0]
        os.kill(worker, signal.SIGKILL)
        await until(lambda: worker not in proxy.status().workers)
        await until(lambda: len(proxy.status().workers) == workers_of(0))
        assert proxy.status().tls_port == status.tls_port
        assert await asyncio.to_thread(tls_hello, proxy.status(), locations)


async def test_a_supervisor_that_is_killed_leaves_no_worker_behind(locations: Locations) -> None:
    async with hosted(locations) as (proxy, status):
        os.kill(status.pid or 0, signal.SIGKILL)
        await gone(status.workers[0])
        assert not proxy.status().serving
        assert locations.proxy_sock.exists()  # left over, which stands in nobody's way
        again = await proxy.host()
        assert again.serving
        assert again.pid != status.pid
        reached = private.connected(locations.proxy_sock)
        assert reached is not None
        reached.close()
    assert not locations.proxy_sock.exists()


async def test_a_busy_port_that_somebody_chose_is_an_error(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("BROKER_PROXY_TLS_PORT", str(taken.getsockname()[1]))
        proxy = LeasedProxy(locations.proxy_json, locations.logs_dir / "proxy.log")
        with pytest.raises(Exception, match="is in use"):
            await proxy.host()


async def test_starting_and_stopping_are_in_the_audit_log(locations: Locations) -> None:
    async with hosted(locations):
        pass
    async with service() as opened:
        kinds = [event.kind for event in await opened.events()]
    assert kinds == [Kind.PROXY_STARTED, Kind.PROXY_STOPPED]
