"""A disk of this host that is full: when a VM is started, and when its guest writes.

The programs see a small file system of memory in a mount namespace of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import StoreError, VmStartFailed
from broker.model import Disk, State
from broker.vm.look import LOOK_SECONDS
from tests.guests import QEMU, Home, needs_qemu
from tests.linux_guest import linux_spec, needs_linux, running_linux

pytestmark = [pytest.mark.qemu, needs_qemu]
QEMU_IMG = shutil.which("qemu-img")


@pytest.fixture
def small(home: Home) -> Path:
    """Where the small file system will be."""
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    if not shutil.which("unshare") or subprocess.run(mount, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    place = home.root / "small"
    place.mkdir()
    return place


def in_small_space(program: Path, real: str | None, place: Path, size: str, first: str = "") -> str:
    """A program that runs the real one where `place` is small."""
    program.write_text(
        "#!/bin/sh\n"
        f"exec unshare -rm sh -c 'mount -t tmpfs -o size={size} none {place} && {first or ':'}"
        f' && exec {real} "$@"\' sh "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


async def test_a_disk_that_does_not_fit_is_not_made_and_the_way_out_is_said(
    home: Home, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_directory = home.root / "bin"
    bin_directory.mkdir()
    in_small_space(bin_directory / "qemu-img", QEMU_IMG, small, "64k")
    monkeypatch.setenv("PATH", f"{bin_directory}{os.pathsep}{os.environ['PATH']}")
    instance = home.instance(disks=(Disk(str(small / "a.qcow2"), size=1 << 30),))
    with pytest.raises(StoreError, match="No space left on device") as caught:
        await instance.start()
    assert "Free some space" in caught.value.fix
    assert (await instance.look()).state is State.STOPPED


async def test_a_temporary_file_that_does_not_fit_is_said_at_the_start(
    home: Home, small: Path
) -> None:
    instance = home.instance(env=(("TMPDIR", str(small)),))
    qemu = in_small_space(home.root / "qemu", QEMU, small, "4k", f"touch {small}/a {small}/b")
    try:
        with pytest.raises(VmStartFailed, match="a disk of this host is full") as caught:
            await replace(instance, qemu=qemu).start()
    finally:
        await instance.kill()
    assert "Free some space" in caught.value.fix


@pytest.mark.slow
@needs_linux
async def test_a_guest_whose_disk_is_full_is_held_and_goes_on_when_there_is_space(
    home: Home, small: Path
) -> None:
    base = home.root / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(base), "16M"], check=True)  # noqa: ASYNC221 - a moment
    disk = Disk(str(small / "disk.qcow2"))
    prepared = f"cp {base} {small}/disk.qcow2 && head -c 1500000 /dev/zero >{small}/filler"
    qemu = in_small_space(home.root / "qemu", QEMU, small, "4m", prepared)
    async with running_linux(home, linux_spec(home, disks=(disk,)), qemu=qemu) as guest:
        # Its shell stays free: the guest as a whole is held, not the program alone.
        await guest.serial.send(b"dd if=/dev/urandom of=/dev/vda bs=64k count=48; echo DO''NE\n")
        async with asyncio.timeout(60):
            while (seen := await guest.instance.look()).state is not State.ERROR:  # noqa: ASYNC110 - QEMU has to be asked
                await asyncio.sleep(LOOK_SECONDS / 10)
        assert "disk" in seen.reason
        # Space is made where QEMU sees it, and nothing that the guest wrote is lost.
        os.unlink(f"/proc/{seen.pid}/root{small}/filler")  # noqa: PTH108 - through its namespace
        await guest.instance.resume()
        await guest.serial.until(b"DONE", timeout=60)
        assert (await guest.instance.look()).state is State.RUNNING
