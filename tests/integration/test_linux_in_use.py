"""A real Linux guest in use: what it sees of its cable, its CD, its keyboard, its snapshots."""

from __future__ import annotations

import asyncio
import shutil
import string
import subprocess
from dataclasses import replace

import pytest

from broker.errors import Refused
from broker.model import Disk, DiskBus, Network
from broker.vm.guest import RunningVm
from tests.guests import Guest, Home, needs_qemu
from tests.linux_guest import linux_spec, needs_linux, run, running_linux

pytestmark = [pytest.mark.qemu, pytest.mark.slow, needs_qemu, needs_linux]


def in_use(guest: Guest) -> RunningVm:
    return RunningVm.of(guest.spec.name, guest.paths, serial=True)


def disc(home: Home, said: str) -> str:
    """A real ISO with one file in it, `HELLO.TXT`."""
    (home.root / "hello.txt").write_text(said)
    made = str(home.root / "hello.iso")
    make = ["genisoimage", "-quiet", "-o", made, str(home.root / "hello.txt")]
    subprocess.run(make, check=True, capture_output=True)
    return made


def empty_qcow2(home: Home) -> str:
    made = str(home.root / "disk.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", made, "16M"], check=True)
    return made


async def comes(guest: Guest, command: str, expected: str) -> None:
    """Wait until a command in the guest prints that."""
    async with asyncio.timeout(60):
        while (said := (await run(guest, command)).strip()) != expected:
            assert said is not None


async def test_it_sees_its_cable_pulled_and_plugged(home: Home) -> None:
    async with running_linux(home, linux_spec(home, network=Network.USER)) as guest:
        await run(guest, "ip link set eth0 up")
        carrier = "cat /sys/class/net/eth0/carrier"
        await comes(guest, carrier, "1")
        await in_use(guest).link(up=False)
        await comes(guest, carrier, "0")
        await in_use(guest).link(up=True)
        await comes(guest, carrier, "1")


async def test_what_is_typed_arrives_on_its_screens_shell(home: Home) -> None:
    every = string.printable[:95]
    async with running_linux(home) as guest:
        await in_use(guest).type(f"cat >/tmp/typed <<'END'\n{every}\nEND\necho done >/dev/ttyS0\n")
        await guest.serial.until(b"done\r\n", timeout=60)
        assert await run(guest, "cat /tmp/typed") == f"{every}\n"


@pytest.mark.skipif(shutil.which("genisoimage") is None, reason="needs genisoimage")
async def test_it_reads_a_disc_and_holds_it_while_it_is_mounted(home: Home) -> None:
    spec = linux_spec(home)
    drive = f"if=none,id=cd9,media=cdrom,format=raw,readonly=on,file={disc(home, 'first')}"
    scsi = ("-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cd9,id=cdrom9")
    spec = replace(spec, extra_args=(*spec.extra_args, "-drive", drive, *scsi))
    async with running_linux(home, spec) as guest:
        vm = in_use(guest)
        await run(guest, "mount -t iso9660 -o ro /dev/sr0 /mnt")
        assert (await run(guest, "cat /mnt/hello.txt")).strip() == "first"
        with pytest.raises(Refused, match="holds cdrom9 shut"):
            await vm.eject()
        await run(guest, "umount /mnt")
        await vm.eject(force=True)
        await vm.insert(disc(home, "second"))
        await comes(guest, "mount -t iso9660 -o ro /dev/sr0 /mnt; cat /mnt/hello.txt", "second")


async def test_a_snapshot_brings_back_files_on_disk_and_in_memory(home: Home) -> None:
    disk = Disk(empty_qcow2(home), "qcow2", DiskBus.VIRTIO)
    async with running_linux(home, replace(linux_spec(home), disks=(disk,))) as guest:
        vm = in_use(guest)
        await run(guest, "echo before >/tmp/memory; echo before >/dev/vda; sync")
        saved = await vm.save_snapshot("before")
        assert saved.complete
        await run(guest, "echo after >/tmp/memory; echo after >/dev/vda; sync")
        await vm.load_snapshot("before")
        assert await run(guest, "cat /tmp/memory") == "before\n"
        assert await run(guest, "head -n 1 /dev/vda") == "before\n"
