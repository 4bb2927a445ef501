"""The libvirt driver against libvirt's own mock of a hypervisor, in this process."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.driver import DriverContext
from broker.errors import (
    BrokerError,
    ConfigError,
    NoConsole,
    NotFound,
    Refused,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
    Unreachable,
    UsageError,
)
from broker.guest import Screenshot
from broker.model import (
    Ability,
    GivenTarget,
    Machine,
    MachineId,
    Protocol,
    SourceName,
    State,
    TcpTarget,
)
from broker.png import SIGNATURE, encode_png
from broker.view import Pointer
from sources.libvirt import domain, link
from sources.libvirt.driver import LibvirtDriver
from sources.libvirt.threads import Threads
from sources.libvirt.view import ScreenshotView
from tests.sources.conformance import DriverConformance

pytest.importorskip("libvirt", reason="make venv-dev installs libvirt's binding where libvirt is")

LAB = SourceName("lab")
WEB = MachineId("6f4e2c1a-1111-4222-8333-000000000001")
TEXT = MachineId("6f4e2c1a-1111-4222-8333-000000000002")
VNC = MachineId("6f4e2c1a-1111-4222-8333-000000000003")

NODE = """<node>
 <domain type='test'><name>web</name><uuid>{web}</uuid><memory>65536</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os><devices>
   <graphics type='vnc' port='5999'/>
   <graphics type='spice' port='5900' tlsPort='5901' listen='127.0.0.1' passwd='s3cret-pass'/>
  </devices></domain>
 <domain type='test'><name>plain text</name><uuid>{text}</uuid><memory>65536</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os></domain>
 <domain type='test'><name>vnc</name><uuid>{vnc}</uuid><memory>65536</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os><devices><graphics type='vnc' port='5998'/></devices></domain>
</node>"""


@pytest.fixture
def node(tmp_path: Path) -> str:
    path = tmp_path / "node.xml"
    path.write_text(NODE.format(web=WEB, text=TEXT, vnc=VNC))
    return f"test://{path}"


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    return DriverContext(tmp_path, tmp_path, tmp_path)


@pytest.fixture
async def driver(node: str, context: DriverContext) -> AsyncIterator[LibvirtDriver]:
    made = LibvirtDriver.from_options(LAB, {"uri": node}, context)
    yield made
    await made.aclose()


class TestConformance(DriverConformance):
    driver_class = LibvirtDriver
    secrets = ("s3cret-pass",)

    @pytest.fixture
    def options(self, node: str) -> Mapping[str, object]:
        return {"uri": node}

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Mapping[str, object]:
        return {"uri": f"qemu:///system?socket={tmp_path}/no-daemon"}


async def named(driver: LibvirtDriver) -> Mapping[str, Machine]:
    return {machine.name: machine for machine in await driver.machines()}


async def test_domains_are_listed_with_what_speaks_there(driver: LibvirtDriver) -> None:
    found = await named(driver)
    assert {name: machine.protocol for name, machine in found.items()} == {
        "web": Protocol.SPICE,
        "plain text": Protocol.NONE,
        "vnc": Protocol.VNC,
    }
    assert found["web"].state is State.RUNNING
    assert found["web"].target == GivenTarget(LAB, WEB)


async def test_power_as_libvirt_has_it(driver: LibvirtDriver) -> None:
    async def state() -> State:
        return (await driver.machine(WEB)).state

    for ability, then in (
        (Ability.PAUSE, State.PAUSED),
        (Ability.PAUSE, State.PAUSED),
        (Ability.RESUME, State.RUNNING),
        (Ability.RESUME, State.RUNNING),
        (Ability.REBOOT, State.RUNNING),
        (Ability.STOP, State.STOPPED),
        (Ability.STOP, State.STOPPED),
        (Ability.SHUTDOWN, State.STOPPED),
        (Ability.START, State.RUNNING),
        (Ability.START, State.RUNNING),
        (Ability.SHUTDOWN, State.STOPPED),
    ):
        await driver.switch(WEB, ability)
        assert await state() is then, ability
    with pytest.raises(UsageError, match="is off"):
        await driver.switch(WEB, Ability.RESET)
    with pytest.raises(NoConsole) as caught:
        await driver.console(WEB)
    assert "broker vm start web" in caught.value.fix
    with pytest.raises(NotFound):
        await driver.switch(MachineId("no-uuid"), Ability.START)


async def test_machines_without_spice_say_what_they_lack(driver: LibvirtDriver) -> None:
    with pytest.raises(NoConsole, match="no SPICE display") as caught:
        await driver.console(TEXT)
    assert "virsh edit 'plain text'," in caught.value.fix
    with pytest.raises(NoConsole, match="VNC"):
        await driver.console(VNC)


async def test_lifecycle_events_are_told(driver: LibvirtDriver) -> None:
    told: asyncio.Queue[MachineId | None] = asyncio.Queue()
    await driver.machines()
    hearing = asyncio.ensure_future(driver.changes(told.put_nowait))
    try:
        async with asyncio.timeout(60):
            assert await told.get() is None
            await driver.switch(WEB, Ability.PAUSE)
            assert await told.get() == WEB
        assert (await named(driver))["web"].state is State.PAUSED
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


async def test_the_picture_is_a_png(driver: LibvirtDriver) -> None:
    shot = await (await driver.guest(WEB)).screenshot()
    assert shot.png.startswith(SIGNATURE)
    assert shot.width > 0
    assert shot.height > 0


async def test_its_screen_is_looked_at_by_screenshots(
    driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.libvirt.view.SHORTEST_REST", 0.0)
    guest = await driver.guest(WEB)
    shot, looks = await guest.screenshot(), 0
    other = Screenshot(encode_png(b"\x01\x02\x03" * 6, 3, 2), 3, 2)

    async def shoot() -> Screenshot:
        nonlocal looks
        looks += 1
        return shot if looks < 4 else other

    monkeypatch.setattr(guest, "screenshot", shoot)
    view = guest.view(calm=0.0)
    first = await view.frame()
    assert (first.width, first.height, first.form) == (shot.width, shot.height, "RGB")
    assert (await view.frame()).data == b"\x01\x02\x03" * 6
    assert (looks, view.via, view.whole) == (4, "screenshots", True)
    for verb in (
        view.press(["a"]),
        view.key("a", down=True),
        view.type("a"),
        view.point(Pointer(1, 1)),
    ):
        with pytest.raises(Refused, match="only looked at"):
            await verb


async def test_a_picture_that_is_none_is_told() -> None:
    async def shoot() -> Screenshot:
        return Screenshot(SIGNATURE + b"junk", 1, 1)

    with pytest.raises(NoConsole, match="cannot be read"):
        await ScreenshotView("lab/web", shoot).frame()


async def test_verbs_that_libvirt_has_not_say_so(driver: LibvirtDriver) -> None:
    guest = await driver.guest(WEB)
    with pytest.raises(UsageError, match="not through libvirt"):
        await guest.save_snapshot("x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "uri"),
        ({"uri": "test:///default", "username": "u"}, "give both"),
        ({"uri": "test:///default", "ticket_seconds": "1"}, "ticket_seconds"),
    ],
)
def test_wrong_options(options: dict[str, object], words: str, context: DriverContext) -> None:
    with pytest.raises(ConfigError, match=words):
        LibvirtDriver.from_options(LAB, options, context)


# -- XML and URIs


def spice_of(graphics: str) -> domain.Spice | None:
    return domain.screens_of(f"<domain><devices>{graphics}</devices></domain>").spice


def test_graphics_as_libvirt_writes_them() -> None:
    assert spice_of("<graphics type='vnc' port='-1'/>") is None
    off = spice_of("<graphics type='spice' autoport='yes'><listen type='address'/></graphics>")
    assert off == domain.Spice(0)
    found = spice_of(
        "<graphics type='vnc'/><graphics type='spice' port='5900' tlsPort='5901' "
        "defaultMode='secure'><listen type='address' address='10.0.0.7'/></graphics>"
    )
    assert found == domain.Spice(1, 5900, 5901, "10.0.0.7", tls_only=True)
    assert spice_of("<graphics type='spice'><channel name='main' mode='secure'/></graphics>") == (
        domain.Spice(0, tls_only=True)
    )
    with pytest.raises(ValueError, match="no XML"):
        domain.screens_of("<domain>")


def test_a_password_changes_nothing_else() -> None:
    until = datetime(2026, 11, 21, 15, 0, 7, tzinfo=UTC)
    xml = (
        "<domain><devices><graphics type='vnc'/>"
        "<graphics type='spice' port='5900' autoport='yes' passwd='old'><listen type='none'/>"
        "</graphics></devices></domain>"
    )
    assert domain.with_password(xml, 1, "new&<", until) == (
        '<graphics type="spice" port="5900" autoport="yes" passwd="new&amp;&lt;" '
        'passwdValidTo="2026-11-21T15:00:07" connected="keep"><listen type="none" /></graphics>'
    )
    without = xml.replace(" passwd='old'", "")
    assert domain.with_password(without, 1, "new", until) is None
    with pytest.raises(ValueError, match="gone"):
        domain.with_password(xml, 2, "x", until)


@pytest.mark.parametrize(
    ("uri", "address", "host"),
    [
        ("qemu+tls://kvm7/system", "0.0.0.0", "kvm7"),
        ("qemu+tls://kvm7/system", "", "kvm7"),
        ("qemu+tls://kvm7/system", "10.0.0.7", "10.0.0.7"),
        ("qemu+tcp://127.0.0.1/system", "127.0.0.1", "127.0.0.1"),
        ("qemu+tls://kvm7/system", "127.0.0.1", None),
    ],
)
def test_where_a_remote_domain_is_dialled(
    uri: str, address: str, host: str | None, context: DriverContext
) -> None:
    driver = LibvirtDriver.from_options(LAB, {"uri": uri}, context)
    spice = domain.Spice(0, 5900, None, address)
    if host is None:
        with pytest.raises(NoConsole, match="listens on 127"):
            driver._target(WEB, spice)
        return
    target = driver._target(WEB, spice)
    assert isinstance(target, TcpTarget)
    assert target.host == host
    assert driver.dial_policy().refusal("127.0.0.1", 5900)


def test_uris_are_completed_and_shown_without_their_files() -> None:
    assert link.prepared("qemu:///system", None) == "qemu:///system"
    assert link.prepared("qemu+ssh://h/system", None) == "qemu+ssh://h/system?no_tty=1"
    assert link.prepared("qemu+ssh://h/system?no_tty=0", None) == "qemu+ssh://h/system?no_tty=0"
    assert link.prepared("qemu+tls://h/system?a=b", "/x y") == (
        "qemu+tls://h/system?a=b&pkipath=/x%20y"
    )
    assert link.shown("qemu+ssh://h/system?keyfile=/k") == "qemu+ssh://h/system"


async def test_a_daemon_that_is_not_there_is_unreachable(
    tmp_path: Path, context: DriverContext
) -> None:
    uri = f"qemu:///system?socket={tmp_path}/nobody"
    driver = LibvirtDriver.from_options(LAB, {"uri": uri}, context)
    with pytest.raises(Unreachable) as caught:
        await driver.machines()
    assert "qemu:///system does not answer" in caught.value.what
    await driver.aclose()


class Said(Exception):
    """As libvirt says it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self._code = code

    def get_error_code(self) -> int:
        return self._code


@pytest.mark.parametrize(
    ("uri", "code", "text", "kind", "words"),
    [
        # All of these were said by libvirt 9.0, with polkit 122 and OpenSSH 9.2.
        (
            "qemu:///system",
            94,
            "authentication unavailable: no polkit agent available to authenticate action "
            "'org.libvirt.unix.manage'",
            SourceDenied,
            "the group `libvirt`",
        ),
        (
            "qemu:///system",
            38,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
            SourceDenied,
            "usermod -aG libvirt",
        ),
        (
            "qemu:///system",
            88,
            "access denied: 'QEMU' denied access",
            RightMissing,
            "domain.suspend is missing",
        ),
        (
            "qemu+ssh://u@h/system?keyfile=/k",
            38,
            "Cannot recv data: u@h: Permission denied (publickey).: Connection reset by peer",
            SourceDenied,
            "ssh u@h",
        ),
        (
            "qemu+ssh://h:2222/system",
            38,
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            SourceDenied,
            "ssh -p 2222 h",
        ),
        (
            "qemu+ssh://h/system",
            38,
            "End of file while reading data: Connection to h closed by remote host.: "
            "Input/output error",
            SourceUnreachable,
            "does not answer",
        ),
    ],
)
def test_who_turns_us_away_is_told_with_the_way_in(
    uri: str, code: int, text: str, kind: type[BrokerError], words: str
) -> None:
    problem = link.Link(LAB, uri).translated(Said(code, text), "domain.suspend")
    assert type(problem) is kind
    assert words in str(problem)
    assert "/k" not in str(problem)


async def test_a_right_that_is_missing_is_offered_no_more(
    driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise libvirt_error(88, "access denied")

    monkeypatch.setattr("sources.libvirt.driver.switch", refuse)
    with pytest.raises(RightMissing) as caught:
        await driver.switch(WEB, Ability.RESET)
    assert caught.value.right == "domain.reset"
    assert driver.abilities()[Ability.RESET] == caught.value.what
    assert driver.abilities()[Ability.START] == ""
    assert driver.shortcomings == (caught.value.what,)


def libvirt_error(code: int, text: str) -> Exception:
    """One as the binding raises it."""
    binding = link.load()
    made = binding.libvirtError(text)
    made.err = (code, 0, text, 2, None, None, None, 0, 0)
    return made  # type: ignore[no-any-return]  # the binding has no types


async def test_an_event_in_the_middle_does_not_break_opening_a_console(
    driver: LibvirtDriver,
) -> None:
    class Forgets(dict[str, tuple[int, domain.Screens]]):
        """As events have it forgotten at once."""

        def __setitem__(self, *_: object) -> None: ...

    driver._known = Forgets()
    assert (await driver.console(WEB)).target == GivenTarget(LAB, WEB)


async def test_what_is_known_of_domains_goes_with_them(driver: LibvirtDriver) -> None:
    driver._known["gone"] = (1, domain.Screens())
    assert {machine.key.uuid for machine in await driver.machines()} == set(driver._known)


async def test_closing_does_not_wait_for_a_host_that_does_not_answer(
    driver: LibvirtDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CLOSE_SECONDS", 0.01)
    with driver._link._opening:  # as who opens it for minutes holds it
        async with asyncio.timeout(30):
            await driver.aclose()
            with pytest.raises(SourceUnreachable, match="being closed"):
                await driver.machines()


HANGS = """
import asyncio, sys
from sources.libvirt.link import Link

async def main():
    link = Link("lab", sys.argv[1])
    calling = asyncio.ensure_future(link.call(lambda connection: connection.getHostname()))
    await asyncio.to_thread(sys.stdin.readline)
    calling.cancel()
    await asyncio.wait([calling])
    await link.aclose()

asyncio.run(main())
"""


def test_a_process_does_not_wait_at_its_end_for_a_host_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        uri = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        with subprocess.Popen([sys.executable, "-c", HANGS, uri], stdin=subprocess.PIPE) as ends:
            try:
                with silent.accept()[0]:  # libvirt waits there for an answer, for ever
                    ends.communicate(b"go on\n", timeout=60)
            finally:
                ends.kill()
    assert ends.returncode == 0


def test_calls_wait_in_their_turn_and_one_that_was_cancelled_is_not_made() -> None:
    threads, go, made = Threads(1, "lab"), threading.Event(), list[str]()
    first = threads.submit(lambda: go.wait(60))
    second = threads.submit(lambda: made.append("second"))
    third = threads.submit(lambda: made.append("third"))
    wrong = threads.submit(lambda: int("wrong"))
    assert second.cancel()
    threads.end()
    go.set()
    assert first.result(60)
    third.result(60)
    assert made == ["third"]
    with pytest.raises(ValueError, match="wrong"):
        wrong.result(60)
    with pytest.raises(RuntimeError, match="nothing more"):
        threads.submit(lambda: None)
