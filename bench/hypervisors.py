"""What a viewer of a hypervisor's console waits for, by type of source, beside dialling directly.

Behind each API stands the same QEMU, with TLS. Directly means: a viewer that knows port and
password already connects to it, links, and has MAIN. Ours: the source's API is asked for the way,
the proxy dials it (Proxmox VE: through the tunnel), and the same viewer has MAIN through the proxy.
libvirt is a real libvirtd here, with a domain that speaks TLS only, asked by `qemu+tcp`. The other
APIs are the fakes of the test suite, in this process: what is measured is what we add, the number
of our questions included, and not how long a real hypervisor thinks about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

from bench.measure import summarise
from bench.report import Part, Row
from broker.driver import Driver, DriverContext
from broker.model import MachineId, SourceName, TcpTarget
from broker.proxy.gate import SessionClosed
from broker.spice.client import ChannelClient, MainReady
from broker.spice.constants import ChannelType
from sources.libvirt.driver import LibvirtDriver
from tests.broker.proxy.rig import Connection, Rig, proxying
from tests.fakes.lab import Lab, running_lab
from tests.sources.remote import TICKETED, benched
from tests.virtd import DAEMON, TLS_ONLY, running_virtd

ROUNDS_MAX = 50
WARM_UP = 2
PASSWORD = "known-already"
DIRECT, ASKED, OURS = "directly", "the API is asked", "all, by our proxy"
NAMES = {
    "proxmox": "Proxmox VE",
    "ovirt": "oVirt",
    "openstack": "OpenStack",
    "shakenfist": "Shaken Fist",
}


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """One table; every source in turn, each round directly, asked only, and by our proxy."""
    samples: dict[str, list[float]] = {}
    rows: list[Row] = []
    rounds = min(rounds, ROUNDS_MAX)
    by_name: dict[str, dict[str, list[float]]] = {}
    if DAEMON is not None:
        by_name["libvirt"] = asyncio.run(_of_libvirt(work, rounds))
    with running_lab() as closed, running_lab(open_to_all=True) as free:
        for kind, name in NAMES.items():
            lab = closed if kind in TICKETED else free
            by_name[name] = asyncio.run(_of_one(kind, lab, work, rounds))
    for name, found in by_name.items():
        samples |= {f"{name}: {what}": seconds for what, seconds in found.items()}
        direct = summarise(found[DIRECT])
        for what, seconds in found.items():
            against = (DIRECT, direct.median) if what == OURS else None
            rows.append(Row(f"{name}: {what}", summarise(seconds), against=against))
    how = (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " ")
    return [Part("Connecting to hypervisors", how, rows)], samples


async def _of_libvirt(work: Path, rounds: int) -> dict[str, list[float]]:
    found = _nothing_yet()
    context = _context(work / "libvirt")
    with running_virtd() as daemon:
        uuid = MachineId(daemon.define("safe", 2, TLS_ONLY))
        with daemon.asked() as connection:
            connection.lookupByUUIDString(uuid).create()
        options = {"uri": daemon.tcp_uri, "ca_cert": daemon.ca_pem}
        driver = LibvirtDriver.from_options(SourceName("kvm"), options, context)
        try:
            async with proxying(work / "libvirt") as rig:
                await driver.machines()
                for turn in range(-WARM_UP, rounds):
                    known = await driver.console(uuid)
                    assert isinstance(known.target, TcpTarget)
                    assert known.target.tls_port is not None
                    direct = await _directly(
                        daemon.ca_pem, known.target.tls_port, known.ticket or ""
                    )
                    asked, whole = await _by_us(driver, uuid, rig)
                    if turn >= 0:
                        _keep(found, direct, asked, whole)
        finally:
            await driver.aclose()
    return found


async def _of_one(kind: str, lab: Lab, work: Path, rounds: int) -> dict[str, list[float]]:
    found = _nothing_yet()
    place = work / kind
    context = _context(place)
    async with benched(kind, lab, place, context) as bench, proxying(place) as rig:
        driver = bench.driver()
        await driver.machines()  # as a source that was listed
        machine_id = MachineId(next(iter(bench.fake.guests)))
        for turn in range(-WARM_UP, rounds):
            if kind in TICKETED:
                await lab.set_password(PASSWORD)
            direct = await _directly(lab.ca_pem, lab.tls_port, PASSWORD)
            asked, whole = await _by_us(driver, machine_id, rig)
            if turn >= 0:
                _keep(found, direct, asked, whole)
    return found


def _nothing_yet() -> dict[str, list[float]]:
    return {DIRECT: [], ASKED: [], OURS: []}


def _keep(found: dict[str, list[float]], *measured: float) -> None:
    for samples, seconds in zip(found.values(), measured, strict=True):
        samples.append(seconds)


def _context(place: Path) -> DriverContext:
    directories = [place / each for each in ("config", "data", "run")]
    for each in directories:
        each.mkdir(parents=True)
    return DriverContext(*directories)


async def _directly(ca_pem: str, port: int, password: str) -> float:
    tls = ssl.create_default_context(cadata=ca_pem)
    tls.check_hostname = False  # as viewers have it: by subject
    begin = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    connection = Connection(ChannelClient(ChannelType.MAIN, password.encode()), reader, writer)
    await connection.flush()
    await connection.until(MainReady)
    seconds = time.perf_counter() - begin
    await connection.close()
    return seconds


async def _by_us(driver: Driver, machine_id: MachineId, rig: Rig) -> tuple[float, float]:
    begin = time.perf_counter()
    console = await driver.console(machine_id)
    asked = time.perf_counter() - begin
    rig.gate.allow(console.target, console.ticket or "")
    main, _ = await rig.open_main()
    seconds = time.perf_counter() - begin
    await main.close()
    await rig.gate.heard(SessionClosed)
    rig.gate.notices.clear()
    with contextlib.suppress(ValueError):
        rig.writers.remove(main.writer)
    return asked, seconds
