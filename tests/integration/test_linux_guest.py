"""A real Linux guest: the power button, the serial console, the agent's channel, a seed, a TPM."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import struct
from dataclasses import replace

import pytest

from broker.headless.session import opened
from broker.headless.wire import dialer
from broker.model import CloudInit, Disk, HandOverTarget, Network, State
from broker.spice.constants import ChannelType, ClientMain
from broker.vm import handover
from broker.vm.argv import mac_of
from broker.vm.instance import Ending
from tests.guests import Home, logged, needs_qemu
from tests.linux_guest import (
    POWER_BUTTON,
    linux_spec,
    needs_linux,
    run,
    running_linux,
)

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    needs_qemu,
    needs_linux,
]

HEADER = struct.Struct("<IIQI")
"""VDAgentMessage: protocol, type, opaque, size."""


async def test_it_hears_its_power_button_and_powers_off(home: Home) -> None:
    async with running_linux(home) as guest:
        ending = await guest.instance.stop(timeout=60)
        assert POWER_BUTTON in await logged(guest.paths.serial_log, POWER_BUTTON)
        assert (ending, (await guest.instance.look()).state) == (Ending.POWERED_OFF, State.STOPPED)


async def test_its_hardware_is_what_the_definition_asks_for(home: Home) -> None:
    spec = linux_spec(home, cpus=2, network=Network.USER)
    disks = (
        Disk(str(home.root / "new.qcow2"), size=24 << 20),
        Disk(str(home.image("two.img", b"two".ljust(1 << 20, b"\0"))), "raw", readonly=True),
    )
    cloud_init = CloudInit(user_data="#cloud-config\nusers: [{name: ü}]\n", network_config="a: 1\n")
    spec = replace(spec, disks=disks, cloud_init=cloud_init, tpm=shutil.which("swtpm") is not None)
    async with running_linux(home, spec) as guest:
        assert await run(guest, "uname -s; nproc") == "Linux\n2\n"
        assert await run(guest, "cat /sys/class/net/eth0/address") == f"{mac_of(spec)}\n"
        sizes = await run(guest, "cat /sys/block/vd[abc]/size /sys/block/vd[abc]/ro")
        assert sizes.split()[:2] == [str(24 << 11), str(1 << 11)]
        assert sizes.split()[3:] == ["0", "1", "1"]
        assert await run(guest, "head -c 3 /dev/vdb") == "two"
        if spec.tpm:
            assert "2" in await run(guest, "cat /sys/class/tpm/tpm0/tpm_version_major")
        assert await run(guest, "tail -c +32809 /dev/vdc | head -c 6") == "cidata"
        await run(guest, "mount -o ro /dev/vdc /mnt")
        assert await run(guest, "ls /mnt") == "meta-data       network-config  user-data\n"
        wanted = hashlib.sha256(cloud_init.user_data.encode()).hexdigest()
        assert wanted in await run(guest, "sha256sum /mnt/user-data")
        assert spec.uuid in await run(guest, "cat /mnt/meta-data")
        # What it writes is there after a reset of its memory: the disk that was made is real.
        await run(guest, "echo kept >/dev/vda; sync")
        assert await run(guest, "head -c 5 /dev/vda") == "kept\n"


async def test_its_agent_and_a_viewer_hear_each_other(home: Home) -> None:
    """The guest's end of the agent's port is its shell; the viewer's is our own client."""
    said = bytes(range(32))
    async with running_linux(home) as guest:
        target = HandOverTarget(str(guest.paths.ctl))
        async with opened(dialer(target, handover), "any", channels=()) as session:
            assert not session.agent_connected
            # Whoever opens the port is the agent; a port of virtio has one reader.
            await run(guest, "exec 7<>/dev/agent; cat <&7 >/tmp/heard & true")
            await session.until(lambda: session.agent_connected or None, seconds=60)
            await session.send(ChannelType.MAIN, ClientMain.AGENT_START, struct.pack("<I", 10))
            await session.send(
                ChannelType.MAIN, ClientMain.AGENT_DATA, HEADER.pack(1, 6, 0, len(said)) + said
            )
            async with asyncio.timeout(60):
                while said.hex() not in await run(guest, "xxd -p /tmp/heard | tr -d '\\n'"):
                    pass
            await run(guest, "kill %1; exec 7>&-")
            await session.until(lambda: None if session.agent_connected else True, seconds=60)
