"""A real guest in use: its screen, its keys, its snapshots, its media, its network cable."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import BrokerError, NoConsole, NotFound, Refused, Unreachable, UsageError
from broker.guest import Screenshot
from broker.model import Disk, DiskBus, Display, MachineSpec, Network
from broker.vm import screen, snapshots
from broker.vm.guest import RunningVm
from broker.vm.instance import Instance
from tests.guests import Guest, Home, needs_qemu, qmp, running_guest

pytestmark = [pytest.mark.qemu, needs_qemu]

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
INSIDE = (310, 136)
"""A point well inside the demo guest's block."""


def qcow2_spec(home: Home) -> MachineSpec:
    """The demo machine on a disk that can keep snapshots."""
    made = home.root / "demo.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(home.image()), str(made)]
    subprocess.run(convert, check=True)
    return replace(home.spec(), disks=(Disk(str(made), "qcow2", DiskBus.SATA),))


def disc(home: Home, name: str) -> str:
    """A real ISO of that name."""
    (home.root / "content").write_text(name)
    made = str(home.root / f"{name}.iso")
    make = ["genisoimage", "-quiet", "-o", made, str(home.root / "content")]
    subprocess.run(make, check=True, capture_output=True)
    return made


def in_use(instance: Instance) -> RunningVm:
    return RunningVm.of(instance.spec.name, instance.paths, serial=True)


def pixel(shot: Screenshot, at: tuple[int, int]) -> tuple[int, int, int]:
    """A pixel of a PNG of 8-bit RGB, by the rules of the PNG specification, 9.2."""
    data, position = b"", 8
    while position < len(shot.png):
        size = int.from_bytes(shot.png[position : position + 4], "big")
        if shot.png[position + 4 : position + 8] == b"IDAT":
            data += shot.png[position + 8 : position + 8 + size]
        position += size + 12
    raw, row = zlib.decompress(data), shot.width * 3
    above = bytearray(row)
    for y in range(at[1] + 1):
        kind, line = raw[y * (row + 1)], bytearray(raw[y * (row + 1) + 1 : (y + 1) * (row + 1)])
        for x in range(row):
            left = line[x - 3] if x >= 3 else 0
            corner = above[x - 3] if x >= 3 else 0
            line[x] = (line[x] + _guess(kind, left, above[x], corner)) & 255
        above = line
    red, green, blue = above[at[0] * 3 : at[0] * 3 + 3]
    return red, green, blue


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    nearest = min((left, up, corner), key=lambda each: abs(estimate - each))
    return (0, left, up, (left + up) // 2, nearest)[kind]


async def shows(vm: RunningVm, colour: tuple[int, int, int]) -> Screenshot:
    """A picture in which the block has that colour; the screen follows within a tick of QEMU's."""
    async with asyncio.timeout(60):
        while True:
            shot = await vm.screenshot()
            if pixel(shot, INSIDE) == colour:
                return shot


@pytest.fixture
async def on_qcow2(home: Home) -> AsyncIterator[Guest]:
    """The demo guest on a disk that can keep snapshots."""
    async with running_guest(home, qcow2_spec(home)) as guest:
        yield guest


async def test_keys_are_heard_and_can_be_seen(demo_guest: Guest) -> None:
    vm = in_use(demo_guest.instance)
    shot = await shows(vm, BLACK)
    assert (shot.width, shot.height) == (720, 400)
    await vm.press(["a"])
    assert await demo_guest.serial.line() == b"K1\r\n"
    await shows(vm, WHITE)
    assert await vm.type("Hi\n") == 3
    assert [await demo_guest.serial.line() for _ in range(3)] == [b"K0\r\n", b"K1\r\n", b"K0\r\n"]
    await shows(vm, BLACK)
    assert list(demo_guest.paths.run.glob("screen-*")) == []


async def test_a_long_text_loses_no_key(demo_guest: Guest) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 2
    vm = in_use(demo_guest.instance)
    assert await vm.type(text, pace=0.01) == len(text)
    for number in range(len(text)):
        assert await demo_guest.serial.line() == (b"K1\r\n", b"K0\r\n")[number % 2]


async def test_what_cannot_be_typed_is_told_before_a_key_is_pressed(demo_guest: Guest) -> None:
    vm = in_use(demo_guest.instance)
    with pytest.raises(UsageError, match="Character 4, 'ß', is not on a keyboard of layout us"):
        await vm.type("abcß")
    with pytest.raises(UsageError, match="Character 4 is not on"):
        await vm.type("abcß", secret=True)
    with pytest.raises(UsageError, match="'detele' in 'ctrl-detele' is not a key"):
        await vm.press(["a", "ctrl-detele"])
    await vm.type("ß", layout="de")
    assert await demo_guest.serial.line() == b"K1\r\n"


async def test_a_guest_that_is_held_is_sent_nothing(demo_guest: Guest) -> None:
    vm = in_use(demo_guest.instance)
    await qmp(demo_guest.paths.qmp, "stop")
    with pytest.raises(Refused, match="it is paused"):
        await vm.press(["a"])
    await qmp(demo_guest.paths.qmp, "cont")
    await vm.press(["b"])
    assert await demo_guest.serial.line() == b"K1\r\n"


async def test_an_older_qemus_picture_is_the_same(demo_guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "old.ppm"
    await qmp(demo_guest.paths.qmp, "screendump", {"filename": str(file)})
    made = screen.picture(file.read_bytes())
    new = await in_use(demo_guest.instance).screenshot()
    points = [INSIDE, (0, 0), (5, 20), (719, 399)]
    assert [pixel(made, at) for at in points] == [pixel(new, at) for at in points]


async def test_one_without_a_screen_says_so(home: Home) -> None:
    async with running_guest(home, replace(home.spec(), display=Display.NONE)) as guest:
        with pytest.raises(NoConsole, match="has no screen"):
            await in_use(guest.instance).screenshot()


async def test_a_vm_that_is_off_says_so_to_every_verb(home: Home) -> None:
    vm = in_use(home.instance())
    with pytest.raises(Unreachable, match=r"demo is off. Start it: broker vm start demo"):
        await vm.screenshot()
    for verb in (vm.press(["a"]), vm.snapshots(), vm.load_snapshot("x"), vm.eject()):
        with pytest.raises(Unreachable, match="is off"):
            await verb


async def test_a_snapshot_brings_back_screen_and_memory(on_qcow2: Guest) -> None:
    vm = in_use(on_qcow2.instance)
    await vm.press(["a"])
    assert await on_qcow2.serial.line() == b"K1\r\n"
    await shows(vm, WHITE)
    saved = await vm.save_snapshot("white")
    assert (saved.tag, saved.disks, saved.complete) == ("white", ("disk0",), True)
    assert saved.memory_bytes > 100_000
    await vm.press(["a"])
    assert await on_qcow2.serial.line() == b"K0\r\n"
    await shows(vm, BLACK)
    await vm.load_snapshot("white")
    await shows(vm, WHITE)
    await vm.press(["a"])  # it runs, and remembers that the block was white
    assert await on_qcow2.serial.line() == b"K0\r\n"
    assert [one.tag for one in await vm.snapshots()] == ["white"]
    await vm.delete_snapshot("white")
    assert await vm.snapshots() == []


async def test_what_cannot_be_loaded_does_not_stop_the_guest(on_qcow2: Guest) -> None:
    vm = in_use(on_qcow2.instance)
    await vm.save_snapshot("one")
    with pytest.raises(UsageError, match="has a snapshot one already"):
        await vm.save_snapshot("one")
    with pytest.raises(NotFound, match=r"no snapshot oen. Did you mean one"):
        await vm.load_snapshot("oen")
    with pytest.raises(NotFound):
        await vm.delete_snapshot("two")
    for odd in ("", "7", " a", "a\nb", "x" * 200):
        with pytest.raises(UsageError):
            await vm.save_snapshot(odd)
    assert await vm.asker.status() == "running"
    assert await qmp(on_qcow2.paths.qmp, "query-jobs") == []


async def test_a_load_that_fails_on_the_way_is_told_and_undone(
    on_qcow2: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = in_use(on_qcow2.instance)
    await vm.save_snapshot("one")
    # The checks before it are not there, as if the snapshot had gone in between.
    monkeypatch.setattr(snapshots, "_check_it_can_be_loaded", lambda *_: None)
    monkeypatch.setattr(snapshots._Disk, "memory", lambda *_: 1)
    with pytest.raises(BrokerError, match=r"QEMU cannot load gone: .*; the guest goes on"):
        await vm.load_snapshot("gone")
    assert await vm.asker.status() == "running"


async def test_a_state_of_another_machine_leaves_the_guest_held_and_says_so(home: Home) -> None:
    spec = qcow2_spec(home)
    async with running_guest(home, spec) as guest:
        await in_use(guest.instance).save_snapshot("small")
    async with running_guest(home, replace(spec, memory=96)) as guest:
        vm = in_use(guest.instance)
        with pytest.raises(BrokerError, match=r"failed half-way back to small: .*is held"):
            await vm.load_snapshot("small")
        assert await vm.asker.status() == "restore-vm"
        await vm.save_snapshot("odd")  # the way out that the error names: another snapshot
        await vm.load_snapshot("odd")
        assert await vm.asker.status() == "running"


async def test_a_paused_guest_stays_paused(on_qcow2: Guest) -> None:
    vm = in_use(on_qcow2.instance)
    await qmp(on_qcow2.paths.qmp, "stop")
    await vm.save_snapshot("held")
    await vm.load_snapshot("held")
    assert await vm.asker.status() == "paused"


async def test_what_a_killed_broker_left_is_no_hindrance(on_qcow2: Guest) -> None:
    vm, path = in_use(on_qcow2.instance), on_qcow2.paths.qmp
    (disk,) = await snapshots._disks(vm.asker)
    left: dict[str, object] = {
        "job-id": f"{snapshots.JOB}left",
        "tag": "left",
        "devices": [disk.node],
    }
    await qmp(path, "snapshot-save", {**left, "vmstate": disk.node})
    await vm.save_snapshot("next")
    assert [one.tag for one in await vm.snapshots()] == ["left", "next"]
    assert await qmp(path, "query-jobs") == []


async def test_a_full_disk_is_told_and_the_guest_goes_on(home: Home) -> None:
    spec = qcow2_spec(home)
    full = (
        f"if=none,id=full,driver=qcow2,file.driver=blkdebug,file.image.driver=file"
        f",file.image.filename={spec.disks[0].path},file.inject-error.0.event=none"
        ",file.inject-error.0.iotype=write,file.inject-error.0.errno=28"
    )
    extra = ("-drive", full, "-device", "virtio-blk-pci,drive=full,id=disk9,bootindex=1")
    async with running_guest(home, replace(spec, disks=(), extra_args=extra)) as guest:
        vm = in_use(guest.instance)
        with pytest.raises(BrokerError, match=r"could not save one: .*\. See whether the disk"):
            await vm.save_snapshot("one")
        assert (await vm.snapshots(), await vm.qmp("query-jobs", {}, timeout=30)) == ([], [])
        await vm.press(["a"])
        assert await guest.serial.line() == b"K1\r\n"


async def test_a_raw_disk_keeps_no_snapshot(home: Home) -> None:
    disk = Disk(str(home.image()), "raw", DiskBus.SATA)
    async with running_guest(home, replace(home.spec(), disks=(disk,))) as guest:
        vm = in_use(guest.instance)
        with pytest.raises(UsageError, match="disk0 is raw, which keeps no snapshots"):
            await vm.save_snapshot("one")
        assert await vm.asker.status() == "running"


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="needs genisoimage")
async def test_a_disc_is_put_in_and_taken_out(home: Home) -> None:
    discs = [disc(home, name) for name in ("first", "second, with a comma")]
    spec = replace(home.spec(), cdrom=discs[0])
    async with running_guest(home, spec) as guest:
        vm = in_use(guest.instance)
        (drive,) = await vm.drives()
        assert (drive.id, drive.kind, drive.image) == ("cdrom0", "cdrom", discs[0])
        assert (await vm.insert(discs[1])).image == discs[1]
        assert (await vm.eject()).image == ""
        assert (await vm.insert(discs[0], drive="cdrom0")).image == discs[0]
        for wrong, words in (("/no/such.iso", "is not there"), (str(home.root), "is not a file")):
            with pytest.raises(UsageError, match=words):
                await vm.insert(wrong)
        with pytest.raises(UsageError, match=r"no drive cdrom1. Did you mean cdrom0"):
            await vm.eject(drive="cdrom1")


async def test_one_without_drives_and_cards_says_so(demo_guest: Guest) -> None:
    vm = in_use(demo_guest.instance)
    with pytest.raises(UsageError, match="has no drive whose medium"):
        await vm.eject()
    with pytest.raises(UsageError, match="has no network card"):
        await vm.link(up=False)


async def test_a_cable_is_pulled_out_and_plugged_in(home: Home) -> None:
    async with running_guest(home, replace(home.spec(), network=Network.USER)) as guest:
        vm = in_use(guest.instance)
        assert await vm.link(up=False) == ("nic0",)
        assert await vm.link(up=True, card="nic0") == ("nic0",)
        with pytest.raises(UsageError, match=r"no network card nic1. Cards are: nic0"):
            await vm.link(up=True, card="nic1")


async def test_the_monitor_answers_in_both_tongues(demo_guest: Guest) -> None:
    vm = in_use(demo_guest.instance)
    assert "VM status: running" in await vm.hmp("info status", timeout=5)
    assert await vm.hmp("nosuch", timeout=5) == "unknown command: 'nosuch'\n"
    answer = await vm.qmp("query-name", {}, timeout=5)
    assert answer == {"name": "demo"}
