"""What a viewer of a hypervisor's console waits for, by type of source, beside dialling directly.

Behind each API stands the same QEMU, with TLS. Directly means: a viewer that knows port and
password already connects to it, links, and has MAIN. Ours: the source's API is asked for the way,
the proxy dials it (Proxmox VE: through the tunnel), and the same viewer has MAIN through the proxy.
The APIs are the fakes of the test suite, in this process: what is measured is what we add, the
number of our questions included, and not how long a real hypervisor thinks about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

from bench.measure import summarise
from bench.report import Part, Row
from broker.driver import DriverContext
from broker.model import MachineId
from broker.proxy.gate import SessionClosed
from broker.spice.client import ChannelClient, MainReady
from broker.spice.constants import ChannelType
from tests.broker.proxy.rig import Connection, Rig, proxying
from tests.fakes.lab import Lab, running_lab
from tests.fakes.source import FakeSource
from tests.sources.remote import TICKETED, Bench, benched

ROUNDS_MAX = 50
WARM_UP = 2
PASSWORD = "known-already"
DIRECT, OURS = "directly", "all, by our proxy"
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
    with running_lab() as closed, running_lab(open_to_all=True) as free:
        for kind, name in NAMES.items():
            lab = closed if kind in TICKETED else free
            found = asyncio.run(_of_one(kind, lab, work, min(rounds, ROUNDS_MAX)))
            samples |= {f"{name}: {what}": seconds for what, seconds in found.items()}
            direct = summarise(found[DIRECT])
            for what, seconds in found.items():
                against = (DIRECT, direct.median) if what == OURS else None
                rows.append(Row(f"{name}: {what}", summarise(seconds), against=against))
    how = (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " ")
    return [Part("Connecting to hypervisors", how, rows)], samples


async def _of_one(kind: str, lab: Lab, work: Path, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {DIRECT: [], "the API is asked": [], OURS: []}
    place = work / kind
    for each in ("config", "data", "run"):
        (place / each).mkdir(parents=True)
    context = DriverContext(place / "config", place / "data", place / "run")
    async with benched(kind, lab, place, context) as bench, proxying(place) as rig:
        driver = bench.driver()
        await driver.machines()  # as a source that was listed
        for turn in range(-WARM_UP, rounds):
            if kind in TICKETED:
                await lab.set_password(PASSWORD)
            direct = await _directly(lab)
            asked, whole = await _by_us(bench, driver, rig)
            if turn >= 0:
                for samples, seconds in zip(found.values(), (direct, asked, whole), strict=True):
                    samples.append(seconds)
    return found


async def _directly(lab: Lab) -> float:
    tls = ssl.create_default_context(cadata=lab.ca_pem)
    tls.check_hostname = False  # as viewers have it: by subject
    begin = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.tls_port, ssl=tls)
    connection = Connection(ChannelClient(ChannelType.MAIN, PASSWORD.encode()), reader, writer)
    await connection.flush()
    await connection.until(MainReady)
    seconds = time.perf_counter() - begin
    await connection.close()
    return seconds


async def _by_us(bench: Bench, driver: object, rig: Rig) -> tuple[float, float]:
    fake: FakeSource = bench.fake
    begin = time.perf_counter()
    console = await driver.console(MachineId(next(iter(fake.guests))))  # type: ignore[attr-defined]
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
