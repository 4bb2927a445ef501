"""QEMUs that somebody started by hand: found, adopted, opened, stopped when asked, let go."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from broker import demo, vv
from broker.driver import Adopter, AskedEachTime, DriverContext
from broker.errors import (
    Ambiguous,
    NoConsole,
    NotFound,
    Refused,
    Unreachable,
    UsageError,
    VmUnresponsive,
)
from broker.headless.session import opened
from broker.headless.wire import dialer, target_of
from broker.model import (
    FoundQemu,
    HandOverTarget,
    Machine,
    MachineSpec,
    Protocol,
    SessionId,
    SourceName,
    State,
    TcpTarget,
    UnixTarget,
)
from broker.proxy.backend import open_backend
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import Admission
from broker.proxy.stage import Patience
from broker.spice.constants import COMMON_CAPS, ChannelType
from broker.spice.wire import LinkMess
from broker.vm import handover, process
from sources.here import HereDriver
from tests.broker.proxy.qemu import free_port
from tests.guests import held, needs_qemu, qmp
from tests.hand import BARE, TICKET, ByHand, by_hand, certificates, short_directory
from tests.integration.cli import broker, running
from tests.stopping import hold

NAME = f"by hand {uuid.uuid4().hex[:8]}"
pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@pytest.fixture
def context(place: Path) -> DriverContext:
    for name in ("config", "data", "runtime"):
        (place / name).mkdir(mode=0o700)
    return DriverContext(place / "config", place / "data", place / "runtime")


@pytest.fixture
def driver(context: DriverContext) -> HereDriver:
    return another(context)


def another(context: DriverContext) -> HereDriver:
    """A broker that comes later and knows nothing but the files."""
    return HereDriver.from_options(SourceName("here"), {}, context)


@pytest.fixture
async def plain(place: Path) -> AsyncIterator[ByHand]:
    """QMP on a unix socket, SPICE without a port, named and paused."""
    qmp_path = place / "qmp"
    # Other tests' QEMUs are this user's, too.
    arguments = ("-name", f"guest={NAME}", "-qmp", f"unix:{qmp_path},server=on,wait=off")
    async with by_hand(place, *BARE, *arguments, "-spice", "port=0", "-S", ready=qmp_path) as qemu:
        yield qemu


async def scanned(driver: HereDriver, pid: int) -> FoundQemu:
    return next(each for each in await driver.scan() if each.pid == pid)


async def adopted(driver: HereDriver, pid: int) -> Machine:
    return await driver.machine(await driver.adopt(str(pid)))


async def links(driver: HereDriver, machine: Machine) -> None:
    """See that a channel of that machine can be linked, its ticket included."""
    console = await driver.console(machine.key.uuid)
    admission = Admission(SessionId("s"), b"", console.target, "", console.ticket or "")
    mess = LinkMess(1, ChannelType.INPUTS, 0, COMMON_CAPS, 0)
    backend = await open_backend(TargetDialer(handover), admission, mess, None, Patience(30))
    try:
        await backend.present()
        # Of a session that does not exist: only a good ticket gets this far.
        with pytest.raises(Refused, match="error 8"):
            await backend.result()
    finally:
        backend.leg.close()


# --- seen ---------------------------------------------------------------------------------------


async def test_one_with_qmp_is_handed_over_and_its_state_is_asked(
    driver: HereDriver, plain: ByHand
) -> None:
    assert isinstance(driver, Adopter)
    found = await scanned(driver, plain.pid)
    assert (found.name, found.owner, found.why_not) == (NAME, "hand", "")
    assert found.monitor == f"qmp {plain.directory}/qmp"
    machine = await adopted(driver, plain.pid)
    assert (machine.name, machine.state, machine.pid) == (NAME, State.PAUSED, plain.pid)
    assert (machine.adopted, machine.defined) == (True, False)
    assert isinstance(machine.target, HandOverTarget)
    await links(driver, machine)


@pytest.mark.parametrize("how", ["argv", "file", "open", "unix"])
async def test_one_with_a_port_is_reached_there_with_its_own_ticket(
    driver: HereDriver, place: Path, how: str
) -> None:
    port, file = free_port(), place / "ticket"
    file.write_text(TICKET)
    spice = {
        "argv": ("-spice", f"port={port},addr=127.0.0.1,password={TICKET}"),
        "file": ("-object", f"secret,id=s,file={file}", "-spice", f"port={port},password-secret=s"),
        "open": ("-spice", f"port={port},disable-ticketing=on"),
        "unix": ("-spice", f"unix=on,addr={place}/spice,password={TICKET}"),
    }[how]
    ready = place / "spice" if how == "unix" else port
    async with by_hand(place, *BARE, *spice, ready=ready) as qemu:
        found = await scanned(driver, qemu.pid)
        assert TICKET not in repr(found)
        machine = await adopted(driver, qemu.pid)
        assert isinstance(machine.target, UnixTarget if how == "unix" else TcpTarget)
        assert machine.state is State.RUNNING
        assert "no monitor" in machine.reason
        await links(driver, machine)
    for path in (place / "data").rglob("*.json"):
        assert TICKET not in path.read_text()


@pytest.mark.parametrize("speaks", ["hmp", "tcp-hmp", "tcp-qmp"])
async def test_a_ticket_that_nobody_can_read_is_set_anew_for_each_session(
    driver: HereDriver, place: Path, speaks: str
) -> None:
    port, other = free_port(), free_port()
    monitor = {
        "hmp": ("-monitor", f"unix:{place}/hmp,server,nowait"),
        "tcp-hmp": ("-monitor", f"telnet:127.0.0.1:{other},server,nowait"),
        "tcp-qmp": ("-qmp", f"tcp:127.0.0.1:{other},server=on,wait=off"),
    }[speaks]
    spice = ("-spice", f"port={port},addr=127.0.0.1")
    async with by_hand(place, *BARE, *spice, *monitor, "-S", ready=port) as qemu:
        machine = await adopted(driver, qemu.pid)
        assert (machine.state, machine.reason) == (State.PAUSED, "not started yet")
        await driver.machines()
        assert isinstance(driver, AskedEachTime)
        assert list(driver.asked_each_time()) == [machine.key.uuid]
        assert dict(driver.kept_tickets()) == {}
        first = await driver.console(machine.key.uuid)
        assert first.ticket != (await driver.console(machine.key.uuid)).ticket
        await links(driver, machine)


async def test_tls_is_held_to_the_ca_and_the_subject_that_it_was_started_with(
    driver: HereDriver, place: Path
) -> None:
    certificates(place)
    port = free_port()
    spice = f"tls-port={port},addr=127.0.0.1,x509-dir=.,password={TICKET},tls-channel=default"
    qmp_path = place / "qmp"
    monitor = ("-qmp", f"unix:{qmp_path},server=on,wait=off")
    async with by_hand(place, *BARE, "-spice", spice, *monitor, ready=port) as qemu:
        machine = await adopted(driver, qemu.pid)
        assert isinstance(machine.target, TcpTarget)
        assert (machine.target.tls_port, machine.target.port) == (port, None)
        assert "node1" in (machine.target.host_subject or "")
        await links(driver, machine)


async def test_one_that_went_to_the_background_is_found_by_absolute_paths(
    driver: HereDriver, place: Path
) -> None:
    absolute = f"unix:{place}/qmp,server=on,wait=off"
    arguments = (*BARE, "-spice", "port=0", "-daemonize", "-pidfile", f"{place}/pid")
    async with by_hand(place, *arguments, "-qmp", absolute, ready=place / "qmp"):
        pid = int((place / "pid").read_text())
        machine = await adopted(driver, pid)
        assert machine.state is State.RUNNING
        await links(driver, machine)
        await driver.kill(machine.key.uuid)
        assert (await driver.machine(machine.key.uuid)).state is State.STOPPED


async def test_one_with_neither_is_seen_all_the_same(driver: HereDriver, place: Path) -> None:
    async with by_hand(place, *BARE, "-vnc", f"unix:{place}/vnc", ready=place / "vnc") as qemu:
        found = await scanned(driver, qemu.pid)
        assert (found.monitor, found.screen) == ("none", f"no SPICE, only vnc unix:{place}/vnc")
        machine = await adopted(driver, qemu.pid)
        assert (machine.protocol, machine.state) == (Protocol.NONE, State.RUNNING)
        assert machine.name == f"qemu-{qemu.pid}"
        (facts,) = await driver.facts()
        assert (facts.key, facts.spec is not None) == (machine.key, True)
        judged = await driver.draft(f"name: {machine.name}")
        assert "exists already" in dict(judged.wrong)["name"]
        with pytest.raises(NoConsole, match="no SPICE"):
            await driver.console(machine.key.uuid)
        with pytest.raises(UsageError, match="no monitor"):
            await driver.stop(machine.key.uuid, timeout=1)
        assert qemu.lives


async def test_a_monitor_that_another_program_holds_is_told_apart_from_a_hung_qemu(
    driver: HereDriver, plain: ByHand
) -> None:
    machine_id = await driver.adopt(NAME)
    async with held(plain.directory / "qmp"):
        assert (await scanned(driver, plain.pid)).held
        machine = await driver.machine(machine_id)
        assert machine.state is State.RUNNING
        assert "another program holds its monitor" in machine.reason
    hold(plain.pid)
    machine = await driver.machine(machine_id)
    assert machine.state is State.UNRESPONSIVE
    assert f"kill -CONT {plain.pid}" in machine.reason


# --- whose --------------------------------------------------------------------------------------


async def test_what_libvirt_looks_after_is_shown_and_left_alone(
    driver: HereDriver, place: Path
) -> None:
    path = place / "libvirt" / "qemu"
    path.mkdir(parents=True)
    monitor = f"socket,id=charmonitor,path={path}/monitor.sock,server=on,wait=off"
    arguments = ("-chardev", monitor, "-mon", "chardev=charmonitor,id=monitor,mode=control")
    async with by_hand(place, *BARE, *arguments, ready=path / "monitor.sock") as qemu:
        assert (await scanned(driver, qemu.pid)).owner == "libvirt"
        with pytest.raises(Refused, match="libvirt looks after it"):
            await driver.adopt(str(qemu.pid))
    assert await driver.machines() == []


async def test_what_cannot_be_named_is_told(driver: HereDriver, place: Path) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        await driver.adopt("nobody")
    async with AsyncExitStack() as stack:
        for number in (1, 2):
            path = place / f"q{number}"
            more = ("-name", f"twin {NAME}", "-qmp", f"unix:{path},server=on,wait=off")
            await stack.enter_async_context(by_hand(place, *BARE, *more, ready=path))
        with pytest.raises(Ambiguous) as caught:
            await driver.adopt(f"twin {NAME}")
        first, second = caught.value.candidates
        one = await driver.machine(await driver.adopt(first))
        two = await driver.machine(await driver.adopt(second))
    assert (one.name, two.name) == (f"twin {NAME}", f"twin {NAME}-{second}")


# --- remembered ---------------------------------------------------------------------------------


async def test_an_adoption_is_of_one_life_and_survives_the_broker(
    driver: HereDriver, context: DriverContext, plain: ByHand
) -> None:
    machine = await adopted(driver, plain.pid)
    later = another(context)
    assert await later.machines() == [machine]
    assert await later.adopt(NAME) == machine.key.uuid
    record = context.data_dir / "adopted" / f"{machine.key.uuid}.json"
    assert record.stat().st_mode & 0o777 == 0o600
    written = json.loads(record.read_text())
    # Somebody else's process with that number, as after a wrap of the pids.
    record.write_text(json.dumps({**written, "ticks": written["ticks"] + 1}))
    (other,) = await later.machines()
    assert (other.state, other.pid, other.target) == (State.STOPPED, None, None)
    await later.kill(machine.key.uuid)
    assert plain.lives
    record.write_text(json.dumps({**written, "boot": "another"}))
    assert "its host restarted" in (await later.machines())[0].reason
    record.write_text("{")
    assert await later.machines() == []


async def test_what_has_ended_says_so_until_it_is_forgotten(
    driver: HereDriver, plain: ByHand
) -> None:
    machine = await adopted(driver, plain.pid)
    life = process.of_pid(plain.pid)
    assert life is not None
    plain.signalled(signal.SIGTERM)
    assert await process.wait_gone(life, 30)
    (ended,) = await driver.machines()
    assert "its QEMU has ended" in ended.reason
    assert "broker vm forget" in ended.reason
    assert [facts.spec for facts in await driver.facts()] == [None]
    with pytest.raises(NoConsole, match="it has ended"):
        await driver.console(machine.key.uuid)
    with pytest.raises(UsageError, match="somebody else started it"):
        await driver.start(machine.key.uuid)
    with pytest.raises(UsageError, match="no definition here"):
        await driver.spec(machine.key.uuid)
    with pytest.raises(Unreachable, match="has ended"):
        await driver.guest(machine.key.uuid)
    await driver.stop(machine.key.uuid, timeout=1)  # asking for what is, is not an error
    await driver.forget(machine.key.uuid)
    assert await driver.machines() == []


async def test_forgetting_leaves_the_process_alone(driver: HereDriver, plain: ByHand) -> None:
    machine = await adopted(driver, plain.pid)
    await driver.forget(machine.key.uuid)
    assert (await scanned(driver, plain.pid)).owner == "hand"
    with pytest.raises(NotFound):
        await driver.forget(machine.key.uuid)
    assert await qmp(plain.directory / "qmp", "query-status")


async def test_no_definition_takes_the_name_or_uuid_of_an_adopted_one(
    driver: HereDriver, plain: ByHand
) -> None:
    machine_id = await driver.adopt(str(plain.pid), name="web")
    with pytest.raises(UsageError, match="adopted"):
        await driver.define(MachineSpec("web", machine_id))
    with pytest.raises(UsageError, match="adopted"):
        await driver.define(MachineSpec("other", machine_id))


# --- stopped, when asked ------------------------------------------------------------------------


async def test_stopping_presses_the_button_and_nothing_harder(
    driver: HereDriver, plain: ByHand
) -> None:
    machine = await adopted(driver, plain.pid)
    with pytest.raises(VmUnresponsive, match="not ended unasked") as caught:
        await driver.stop(machine.key.uuid, timeout=0.2)
    assert "broker vm kill" in caught.value.fix
    assert plain.lives
    await driver.kill(machine.key.uuid)
    assert not plain.lives


async def test_one_that_is_held_by_a_signal_is_killed_all_the_same(
    driver: HereDriver, plain: ByHand
) -> None:
    machine = await adopted(driver, plain.pid)
    hold(plain.pid)
    await driver.kill(machine.key.uuid)
    assert not plain.lives


# --- from the command line, through the proxy ----------------------------------------------------


async def test_adopted_screens_are_seen_through_the_proxy(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")
    image = demo.write_image(place / "demo.raw")
    certificates(place)
    guest = ("-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-vga", "std")
    disk = ("-drive", f"file={image},format=raw,snapshot=on", "-serial", "none")
    ports = [free_port() for _ in range(4)]
    secret = f"password={TICKET}"
    ways = {
        "port": ("-spice", f"port={ports[0]},addr=127.0.0.1,{secret}"),
        "fresh": ("-spice", f"port={ports[1]}", "-monitor", f"unix:{place}/hmp,server,nowait"),
        "tls": ("-spice", f"tls-port={ports[2]},x509-dir={place},{secret},tls-channel=default"),
        "handed": ("-spice", "port=0", "-qmp", f"unix:{place}/qmp,server=on,wait=off"),
    }  # fmt: skip
    ready: dict[str, Path | int] = {
        **dict(zip(ways, ports, strict=True)),
        "handed": place / "qmp",
    }
    async with AsyncExitStack() as stack:
        for name, way in ways.items():
            started = by_hand(place, *guest, *disk, "-name", name, *way, ready=ready[name])
            qemu = await stack.enter_async_context(started)
            said = await asyncio.to_thread(broker, "vm", "adopt", str(qemu.pid), "--json")
            assert (said.code, said.document["name"]) == (0, name), said.err
        scan = await asyncio.to_thread(broker, "vm", "scan", "--json")
        assert {row["machine"] for row in scan.rows if row["owner"] == "adopted"} == set(ways)
        assert TICKET not in scan.out
        assert [row["adopted"] for row in broker("list", "--json").rows] == [True] * 4
        with running("serve"):
            assert (await asyncio.to_thread(broker, "status", "--wait", "90")).code == 0
            for name in ways:
                said = await asyncio.to_thread(broker, "export-vv", name, "-o", "-")
                file = vv.parse(said.out)
                channels = (ChannelType.DISPLAY, ChannelType.INPUTS)
                going = opened(dialer(target_of(file)), file.password, channels=channels)
                async with going as session:
                    screen = session.screen
                    await session.until(lambda: screen.size == (720, 400) or None, seconds=60)  # noqa: B023 - awaited here


async def test_what_is_written_boots_the_same_guest(place: Path) -> None:
    again = f"again-{uuid.uuid4().hex[:8]}"
    image = demo.write_image(place / "demo.raw")
    file = place / "vm.yaml"
    arguments = (
        *("-machine", "pc,accel=tcg", "-m", "64", "-nodefaults", "-display", "none"),
        *("-vga", "std", "-name", again, "-serial", f"file:{place}/serial", "-spice", "port=0"),
        *("-drive", f"file={image.name},format=raw,snapshot=on"),
        *("-object", "secret,id=x,data=hush"),
        *("-qmp", f"unix:{place}/qmp,server=on,wait=off"),
    )  # fmt: skip
    async with by_hand(place, *arguments, ready=place / "qmp") as qemu:
        said = await asyncio.to_thread(broker, "vm", "adopt", again, "--write", str(file))
        assert said.code == 0, said.err
        assert "not carried over: -object secret,id=x,data=***" in said.err
        assert "hush" not in file.read_text() + said.err
        assert "machine: pc\n" in file.read_text()
        twice = await asyncio.to_thread(broker, "vm", "adopt", again, "--write", str(file))
        assert twice.code == 2  # what is there is not overwritten
        assert broker("vm", "delete", again, "--yes").code == 2
        assert broker("vm", "kill", again).code == 0
        assert not qemu.lives
    listed = broker("vm", "list", "--json").rows
    assert [(row["name"], row["state"]) for row in listed] == [(again, "stopped")]
    assert broker("vm", "forget", again).code == 0
    assert broker("vm", "define", "-f", str(file)).code == 0
    try:
        assert broker("vm", "start", again).code == 0
        assert await asyncio.to_thread(says_its_banner, again)
    finally:
        broker("vm", "kill", again)


def says_its_banner(name: str) -> bool:
    """Wait for the demo guest."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if demo.BANNER.decode().strip() in broker("vm", "log", "--serial", name).out:
            return True
        time.sleep(0.2)
    return False
