"""UEFI to its shell, under TCG, with a screen and a serial line; and secure boot that refuses."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model import Disk, Firmware, MachineSpec
from tests.guests import Home, logged, needs_qemu, qmp, serial_of
from tests.integration.cli import broker
from tests.linux_guest import PARTS, needs_linux

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    needs_qemu,
    pytest.mark.skipif(not Path("/usr/share/OVMF").exists(), reason="no UEFI firmware here"),
]
BOOT_SECONDS = 300
PROMPT = b"Shell> "
SCRIPT = b"echo SCRIPT RAN\r\n"
WRITTEN = "BootOrder".encode("utf-16-le")
"""A variable that firmware writes at its first boot."""


def machine(home: Home, files: dict[str, bytes], **changes: bool) -> MachineSpec:
    """A machine of UEFI with a disk of those files."""
    source, disk = home.root / "files", home.root / "esp.img"
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    # QEMU makes a disk with a file system of a directory.
    command = ["qemu-img", "convert", "-O", "raw", f"fat:{source}", str(disk)]
    subprocess.run(command, check=True)
    disks = (Disk(str(disk), "raw", snapshot=True),)
    spec = replace(home.spec(), memory=256, firmware=Firmware.UEFI, disks=disks)
    return replace(spec, **changes)  # type: ignore[arg-type]  # fields of a spec


async def test_uefi_boots_to_its_shell_and_keeps_its_variables(home: Home) -> None:
    instance = home.instance(machine(home, {"startup.nsh": SCRIPT}))
    try:
        await instance.start()
        assert WRITTEN not in instance.paths.uefi_vars.read_bytes()
        said = await logged(instance.paths.serial_log, b"\nSCRIPT RAN", timeout=BOOT_SECONDS)
        assert b"UEFI Interactive Shell" in said
        async with serial_of(instance.paths.serial) as serial:
            await serial.send(b"setvar Broker -guid 8be4df61-93ca-11d2-aa0d-00e098032b8c -nv =01\r")
            await serial.send(b'echo DO"N"E\r')
            await serial.until(b"DONE", timeout=60)
            screen = home.root / "screen.png"
            await qmp(instance.paths.qmp, "screendump", {"filename": str(screen), "format": "png"})
        assert screen.read_bytes().startswith(b"\x89PNG")
    finally:
        await instance.kill()
    assert WRITTEN in instance.paths.uefi_vars.read_bytes()


def test_the_smoke_lane_takes_a_uefi_image(tmp_path: Path) -> None:
    """To the shell and its echo of a key, from a qcow2 whose script says the banner."""
    source, disk, kept = tmp_path / "files", tmp_path / "esp.qcow2", tmp_path / "kept"
    source.mkdir()
    (source / "startup.nsh").write_bytes(SCRIPT)
    command = ["qemu-img", "convert", "-O", "qcow2", f"fat:{source}", str(disk)]
    subprocess.run(command, check=True)
    words = ("--image", str(disk), "--firmware", "uefi", "--banner", "SCRIPT RAN")
    more = ("--accel", "tcg", "-m", "256M", "--budget", "120", "--keep", str(kept), "--json")
    said = broker("smoke", *words, *more, seconds=380)
    assert said.code == 0, said.out + said.err
    assert b"SCRIPT RAN" in (kept / "serial.log").read_bytes()
    assert (kept / "screen.png").read_bytes().startswith(b"\x89PNG")


@needs_linux
async def test_secure_boot_refuses_a_system_that_microsoft_did_not_sign(home: Home) -> None:
    """Debian's kernel is a program for UEFI, signed by Debian alone."""
    kernel = {"EFI/BOOT/BOOTX64.EFI": (PARTS / "vmlinuz").read_bytes()}
    instance = home.instance(machine(home, kernel, secure_boot=True))
    try:
        await instance.start()
        await logged(instance.paths.serial_log, b"Access Denied", timeout=BOOT_SECONDS)
    finally:
        await instance.kill()
