"""Every screen that has a golden, and how one gets there: a new one is a line here.

Each is looked at in colour at the sizes people have, and without colour in ASCII; `check` in
`cells.py` keeps all looks of a screen in one file. `UPDATE_GOLDEN=1 pytest tests/tui/test_looks.py`
writes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from broker.errors import Refused
from broker.events import Kind
from broker.findings import Step, broken, fine
from broker.guest import Snapshot
from broker.model import (
    Disk,
    Display,
    Firmware,
    FoundQemu,
    MachineSpec,
    Network,
    Power,
    Restart,
)
from broker.provisioning import DiskFacts, VmFacts
from tests.fakes.service import NOW, FakeService, few, session
from tests.tui.letters import page_frame

GIB: Final = 1 << 30
Prepare = Callable[[FakeService], None]


@dataclass(frozen=True)
class Shot:
    """A screen to look at.

    Attributes:
        keys: Pressed one after the other, in the lively set-up.
        shows: What has to be on the screen before it is looked at.
        prepare: What is different with the service.
        options: For the app.
        wide: What has to be there as well where there is room for the detail.
        alone: Looked at at 80x24 only; the others add nothing.
    """

    keys: tuple[str, ...]
    shows: str
    prepare: Prepare = lambda _: None
    options: dict[str, Any] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    alone: bool = False


def lively() -> FakeService:
    """One of each state, two people connected, a short history, a guest that says something."""
    service = FakeService()
    demo, web = service.named("demo"), service.named("web-01")
    service.live = [
        session(demo, "k3f9a0b1c2d1", "192.0.2.10:51344"),
        session(web, "k3f9a0b1c2d2", "192.0.2.11:40100"),
    ]
    service.rows = few(connected={"demo": 1, "web-01": 1})
    service.say(Kind.SESSION_OPENED, "ana opened demo", demo)
    service.say(Kind.SESSION_REFUSED, "A token that had expired was refused", web)
    service.say(Kind.MACHINE_FAILED, "web-02 crashed", service.named("web-02"))
    service.steps = [
        Step("name", fine("here/demo"), 0.001),
        Step("proxy", broken("nobody serves", "broker serve"), 0.002),
    ]
    service.found = [
        _qemu(4711, "build", "spice on 127.0.0.1:5930"),
        _qemu(4712, "old", "no screen", why_not="It has no monitor"),
    ]
    service.slow = {"view": asyncio.Event(), "diagnose": asyncio.Event()}  # see `answering`
    service.guests.line.quiet = True
    service.guests.screen.show(page_frame(["Debian GNU/Linux 13 demo tty1", "", "demo login: _"]))
    return service


def _qemu(pid: int, name: str, screen: str, *, why_not: str = "") -> FoundQemu:
    return FoundQemu(
        pid, NOW, "ana", "qemu-system-x86_64", name, "", "hand", "", "none", False, screen, None,
        "none", why_not, (),
    )  # fmt: skip


def vms(service: FakeService) -> None:
    """What local VMs are made of is known, and one has kept states."""
    answering(service)
    service.facts = _facts(service)
    service.rows = few(connected={"web-01": 1})
    service.live = service.live[1:]
    service.guests.kept = [
        Snapshot("fresh", NOW.replace(day=1), 1_400_000_000, 300.0, ("disk0",), complete=True),
        Snapshot("disks only", NOW.replace(day=3), 0, 0.0, ("disk0",), complete=False),
    ]


def _facts(service: FakeService) -> list[VmFacts]:
    """Of each local VM of `few`, one with everything."""
    keys = {row.machine.name: row.machine.key for row in service.rows}

    def spec(name: str, *disks: Disk) -> MachineSpec:
        return MachineSpec(name, keys[name].uuid, disks=disks)

    big = (Disk("/vms/web-01/disk0.qcow2"), Disk("/srv/data.img", format="raw", readonly=True))
    web = replace(
        spec("web-01", *big),
        memory=4096,
        cpus=4,
        firmware=Firmware.UEFI,
        secure_boot=True,
        tpm=True,
        restart=Restart.ON_CRASH,
        autostart=True,
        cdrom="/iso/installer.iso",
        forwards=((2222, 22),),
    )
    looked = (
        DiskFacts(big[0].path, 40 * GIB, 3 * GIB, snapshots=2),
        DiskFacts(big[1].path, 8 * GIB, 8 * GIB),
    )
    own = Disk("/vms/db-01/disk0.qcow2", size=20 * GIB)
    return [
        VmFacts(keys["web-01"], web, looked, "KVM with CPU model host", wanted=Power.ON),
        VmFacts(
            keys["db-01"],
            spec("db-01", own),
            (DiskFacts(own.path, 20 * GIB),),
            built_on=("web-03",),
        ),
        VmFacts(
            keys["demo"],
            replace(spec("demo"), memory=64, display=Display.NONE, network=Network.NONE),
            engine="TCG",
        ),
        VmFacts(keys["web-02"], spec("web-02"), wanted=Power.ON),
    ]


def answering(service: FakeService) -> None:
    """Screens and the doctor answer; else neither comes into the picture while one looks."""
    service.slow.clear()


def nobody(service: FakeService) -> None:
    """No sessions: nobody has to be asked."""
    answering(service)
    service.live, service.rows = [], few()


def nothing(service: FakeService) -> None:
    """An empty set-up."""
    nobody(service)
    service.rows, service.status, service.log = [], [], []


def refusing(service: FakeService) -> None:
    """What is done to many fails."""
    service.failing["start"] = Refused("The host is full", fix="Shut something down")


def breaking(service: FakeService) -> None:
    """A bug of ours."""
    service.failing["scan"] = ZeroDivisionError("division by zero")


def never(service: FakeService) -> None:
    """The list does not come."""
    service.slow["open"] = asyncio.Event()


DEMO: Final = ("j", "j")
"""To the demo guest, which runs."""
DETAIL: Final = ("nobody serves", "demo login:")
"""What comes last into it."""
SHOTS: Final = {
    # the pages
    "consoles": Shot(DEMO, "  demo  ", answering, wide=DETAIL),
    "sessions": Shot(("2",), "192.0.2.10:51344"),
    "sources": Shot(("3",), "LAST READ"),
    "events": Shot(("4",), "web-02 crashed"),
    "proxy": Shot(("5",), "A0:A1"),
    "machines": Shot(("6", "j", "j"), "40G, 3G used", vms),
    "settings": Shot(("comma",), "wanted"),
    # the list in other moods
    "detail": Shot((*DEMO, "d"), "nobody serves", answering, wide=DETAIL),
    "filtered": Shot((*"/web -02", "enter"), "1 of 8", wide=("Connected", "Events")),
    "nothing-matches": Shot((*"/zzz",), "Nothing matches"),
    "marked": Shot((*DEMO, "space", "G", "V"), "6 marked"),
    "empty": Shot((), "No consoles yet", nothing),
    "starting-up": Shot((), "Reading the list", never),
    # a guest's screen
    "live": Shot((*DEMO, "l"), "demo login:", nobody),
    "leader": Shot((*DEMO, "l", "ctrl+right_square_bracket"), "Ctrl-Alt-Del", nobody),
    "occupied": Shot((*DEMO, "l"), "is in use"),
    "layout": Shot((*DEMO, "l", "ctrl+right_square_bracket", "k"), "eyboard layout", nobody),
    "serial": Shot((*DEMO, "s"), "login:"),
    "serial-whole": Shot((*DEMO, "b", "ctrl+right_square_bracket", "w"), "login:", alone=True),
    "wall": Shot(("w",), "2 running here", nobody),
    # dialogs
    "power": Shot((*DEMO, "p"), "Power: demo"),
    "power-of-many": Shot(("asterisk", "p"), "Power: 8 machines"),
    "menu": Shot((*DEMO, "full_stop"), "here/demo"),
    "menu-of-many": Shot(("asterisk", "full_stop"), "8 consoles"),
    "menu-session": Shot(("2", "full_stop"), "1 session"),
    "kill": Shot((*DEMO, "p", "k"), "Kill demo?"),
    "export": Shot((*DEMO, "e"), "demo.vv"),
    "export-audit": Shot(("4", "e"), "audit.csv"),
    "sort": Shot(("S",), "Sort by"),
    "adopt": Shot(("a",), "It has no monitor"),
    "new-vm": Shot(("6", "n"), "New VM", wide=("nothing, until",)),
    "new-vm-wrong": Shot(("6", "n", "ctrl+s"), "is missing", wide=("nothing, until",)),
    "new-vm-yaml": Shot(("6", "n", *"vm-1", "pageup", "pageup"), "name: vm-1", alone=True),
    "edit-vm": Shot(("6", "j", "j", "e"), "Edit web-01", vms, wide=("guest=web-01",)),
    "clone": Shot(("6", "c", "down", "right"), "[linked]", vms),
    "snapshots": Shot(("6", "j", "j", "t"), "no memory in it", vms),
    "disconnect": Shot(("2", "x"), "Disconnected"),
    "quit": Shot(("q",), "sessions"),
    "log": Shot((*DEMO, "L"), "no KVM"),
    "log-serial": Shot((*DEMO, "L", "tab"), "TEST-GUEST READY"),
    "doctor": Shot((*DEMO, "c"), "nobody serves", answering),
    "failures": Shot(("asterisk", "u", "exclamation_mark"), "What failed", refusing),
    "trouble": Shot(("a",), "Something broke", breaking, alone=True),
    "start-failed": Shot((*"/web-02", "enter", "u"), "KVM kernel module"),
    "readonly": Shot((*DEMO, "u"), "look, do not touch", options={"readonly": True}),
    "palette": Shot(("colon", *"kill web"), "Kill here/web-02"),
    "palette-begins": Shot((*DEMO, "colon"), "Reset demo", alone=True),
    "palette-marked": Shot(("asterisk", "colon", *"stop"), "Shut down 8 marked", alone=True),
    "ansi": Shot((*DEMO, "space", *"/e"), "demo", options={"theme": "broker-ansi"}, alone=True),
    "ansi-kill": Shot(
        (*DEMO, "p", "k"), "Kill demo?", options={"theme": "broker-ansi"}, alone=True
    ),
    "ansi-light": Shot((*DEMO, "p"), "Power:", options={"theme": "broker-ansi-light"}, alone=True),
    "contrast": Shot((*DEMO, "p"), "Power:", options={"theme": "broker-contrast"}),
    "jump": Shot((*DEMO, "ctrl+o"), "k  db-01"),
    "jump-form": Shot(("6", "n", "ctrl+o"), "New VM", wide=("nothing, until",)),
    "help": Shot(("question_mark",), "Keys: Consoles"),
    "help-wall": Shot(("w", "question_mark"), "Keys: Wall", nobody),
}
