"""What a definition can ask for, each kind on a real QEMU that runs the demo guest."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import StoreError, VmStartFailed
from broker.model import (
    CloudInit,
    Disk,
    DiskBus,
    Firmware,
    Network,
    Nic,
    SpicePort,
    State,
)
from broker.vm import process, ready, tpm
from broker.vm.instance import Instance
from broker.vm.look import tail
from tests.guests import Home, needs_qemu, qmp, running_guest

pytestmark = [pytest.mark.qemu, needs_qemu]
needs_swtpm = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")


def image_info(path: str) -> dict[str, object]:
    said = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", path], capture_output=True, check=True
    )
    found: dict[str, object] = json.loads(said.stdout)
    return found


def empty_qcow2(path: Path, size: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), size], check=True)
    return path


def of_process(pid: int | None, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()


async def reasons(instance: Instance) -> str:
    """Why it does not start; nothing may be left running."""
    try:
        with pytest.raises((VmStartFailed, StoreError)) as caught:
            await instance.start()
        assert (await instance.look()).state is State.STOPPED
    finally:
        await instance.kill()
    return str(caught.value)


async def test_the_older_machine_type_with_every_kind_of_drive_boots(home: Home) -> None:
    spec = replace(
        home.spec(),
        machine="pc",
        cpu="qemu64,+ssse3",
        disks=(
            Disk(str(home.image()), "raw", DiskBus.SATA, snapshot=True),
            Disk(str(home.image("b.img")), "raw", DiskBus.SATA, readonly=False),
            Disk(str(home.image("c.img")), "raw", DiskBus.SCSI),
            Disk(str(home.image("d.img")), "raw", DiskBus.NVME),
            Disk(str(home.image("e.img")), "raw", DiskBus.USB),
            Disk(str(home.image("f.img", bytes(1474560))), "raw", DiskBus.FLOPPY),
        ),
        cdrom="empty",
        floppy="empty",
        network=Network.USER,
        nic=Nic.E1000,
        tablet=False,
        sound=True,
    )
    async with running_guest(home, spec) as guest:
        blocks = await qmp(guest.paths.qmp, "query-block")
    assert isinstance(blocks, list)
    empty = [block["qdev"] for block in blocks if "inserted" not in block]
    assert sorted(map(str, empty)) == ["cdrom0", "floppy0"]
    assert len(blocks) == 8


async def test_the_newer_one_boots_from_a_floppy_drive_as_well(home: Home) -> None:
    floppy = home.image("boot.img", home.image().read_bytes().ljust(1474560, b"\0"))
    async with running_guest(home, replace(home.spec(), disks=(), floppy=str(floppy))):
        pass  # it has said its banner


async def test_a_disk_with_a_size_and_an_overlay_are_made_at_the_first_start(home: Home) -> None:
    base = empty_qcow2(home.root / "base.qcow2", "7M")
    instance = home.instance(home.spec())
    own = instance.paths.data
    overlay = Disk(str(own / "a.qcow2"), size=9 << 20, backing=str(base), backing_format="qcow2")
    fresh = Disk(str(own / "b,c.img"), "raw", DiskBus.SATA, size=5 << 20)
    before = base.read_bytes()
    spec = replace(instance.spec, disks=(*instance.spec.disks, overlay, fresh))
    async with running_guest(home, spec):
        pass
    made = image_info(overlay.path)
    assert (made["virtual-size"], made["backing-filename"]) == (9 << 20, str(base))
    files = [own / "a.qcow2", own / "b,c.img"]
    assert files[1].stat().st_size == 5 << 20
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert base.read_bytes() == before
    kept = [file.stat().st_ino for file in files]
    async with running_guest(home, spec):  # and not made again
        assert [file.stat().st_ino for file in files] == kept


async def test_an_overlay_of_what_is_no_image_says_so(home: Home) -> None:
    base = home.image("base.img")
    disk = Disk(str(home.root / "o.qcow2"), backing=str(base), backing_format="qcow2")
    said = await reasons(home.instance(disks=(disk,)))
    assert "its disk" in said
    assert "not in qcow2 format" in said
    assert sorted(path.name for path in home.root.glob("*o.qcow2*")) == []


async def test_a_port_for_spice_lets_nobody_in_before_a_ticket_is_made(home: Home) -> None:
    async with running_guest(home, replace(home.spec(), spice=SpicePort())) as guest:
        spice = await qmp(guest.paths.qmp, "query-spice")
        command = tail(guest.paths.qemu_log)
    assert isinstance(spice, dict)
    assert (spice["host"], spice["auth"]) == ("127.0.0.1", "spice")
    assert spice["port"] > 0
    assert "ticket" not in command
    assert "password" not in command


async def test_a_port_that_was_asked_for_and_is_taken_is_named(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await reasons(home.instance(spice=SpicePort(port=port)))
    assert f"127.0.0.1:{port}" in said


async def test_a_port_that_is_taken_at_the_last_moment_is_replaced(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1]]
        free = ready.free_port
        monkeypatch.setattr(
            "broker.vm.tries.free_port", lambda spec: ports.pop() if ports else free(spec)
        )
        async with running_guest(home, replace(home.spec(), spice=SpicePort())) as guest:
            spice = await qmp(guest.paths.qmp, "query-spice")
            assert isinstance(spice, dict)
            assert spice["port"] != taken.getsockname()[1]


async def test_vnc_is_a_socket_of_ours_and_spice_is_gone(home: Home) -> None:
    async with running_guest(home, replace(home.spec(), vnc=True, agent=True, sound=True)) as guest:
        vnc = await qmp(guest.paths.qmp, "query-vnc")
        reader, writer = await asyncio.open_unix_connection(guest.paths.vnc)
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"RFB 003.008")
        writer.close()
        await writer.wait_closed()
        command = tail(guest.paths.qemu_log)
    assert isinstance(vnc, dict)
    assert (vnc["enabled"], vnc["family"], vnc["service"]) == (True, "unix", str(guest.paths.vnc))
    assert "-spice" not in command


@needs_swtpm
async def test_a_tpm_lives_and_dies_with_its_vm_and_keeps_its_memory(home: Home) -> None:
    instance = home.instance(tpm=True)
    for _ in range(2):
        await instance.start()
        try:
            devices = await qmp(instance.paths.qmp, "query-tpm")
            helper = tpm.find(instance.paths)
        finally:
            await instance.kill()
        assert isinstance(devices, list)
        assert [device["model"] for device in devices] == ["tpm-crb"]
        assert helper is not None
        assert await process.wait_gone(helper, 60)
    assert list(instance.paths.tpm_state.iterdir())


@needs_swtpm
async def test_no_tpm_is_left_behind_by_a_start_that_fails(home: Home) -> None:
    instance = home.instance(tpm=True, extra_args=("-bogus",))
    assert "does not understand" in await reasons(instance)
    assert tpm.find(instance.paths) is None


async def test_a_seed_for_cloud_init_is_on_a_disk_only_we_can_read(home: Home) -> None:
    spec = replace(home.spec(), cloud_init=CloudInit(user_data="#cloud-config\nusers: []\n"))
    async with running_guest(home, spec) as guest:
        assert guest.paths.seed.stat().st_mode & 0o777 == 0o600
        assert b"cidata" in guest.paths.seed.read_bytes()
        blocks = await qmp(guest.paths.qmp, "query-block")
    assert isinstance(blocks, list)
    assert "seed0" in [block["device"] for block in blocks]


async def test_variables_of_the_definition_are_in_the_environment(home: Home) -> None:
    spec = replace(home.spec(), env=(("TMPDIR", str(home.root)), ("A_B", "x y")))
    async with running_guest(home, spec) as guest:
        variables = of_process((await guest.instance.look()).pid, "environ").split("\0")
    assert {"A_B=x y", f"TMPDIR={home.root}"} <= set(variables)


async def test_qemu_is_in_its_sandbox(home: Home) -> None:
    async with running_guest(home) as guest:
        status = of_process((await guest.instance.look()).pid, "status")
    assert "Seccomp:\t2" in status


async def test_a_bridge_of_this_host_that_is_not_there_is_said(home: Home) -> None:
    said = await reasons(home.instance(network=Network.BRIDGE, interface="nosuch0"))
    assert "bridge helper does not join its bridge" in said


@pytest.fixture
def tap() -> Iterator[str]:
    """A tap device of this host."""
    name = f"cb{os.getpid() % 10**8}"
    words = ["ip", "tuntap", "add", "dev", name, "mode", "tap"]
    if os.geteuid() or not shutil.which("ip") or subprocess.run(words, check=False).returncode:
        pytest.skip("devices of the network cannot be made here")
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield name
    subprocess.run(["ip", "tuntap", "del", "dev", name, "mode", "tap"], check=True)


def has_carrier(device: str) -> str:
    return Path(f"/sys/class/net/{device}/carrier").read_text()


async def test_a_tap_device_is_joined_by_name(home: Home, tap: str) -> None:
    assert has_carrier(tap) == "0\n"
    async with running_guest(home, replace(home.spec(), network=Network.TAP, interface=tap)):
        assert has_carrier(tap) == "1\n"


@pytest.mark.skipif(not Path("/usr/share/OVMF").exists(), reason="no UEFI firmware here")
async def test_secure_boot_has_firmware_and_variables_of_its_own(home: Home) -> None:
    instance = home.instance(firmware=Firmware.UEFI, secure_boot=True, memory=256)
    try:
        await instance.start()
        command = tail(instance.paths.qemu_log)
    finally:
        await instance.kill()
    assert "secboot" in command
    assert instance.paths.secure_uefi_vars.exists()
    assert not instance.paths.uefi_vars.exists()
