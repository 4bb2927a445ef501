"""A USB stick on the viewer's side works in the machine, through the proxy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker import demo
from broker.spice.usb_packets import Kind, packet
from tests.adversary.link import assault
from tests.adversary.machines import field_of
from tests.adversary.usb_plays import IMAGE
from tests.adversary.usb_stick import SECTOR, Stick
from tests.adversary.usb_talk import Talk, redirecting, restart
from tests.broker.proxy.qemu import Qemu
from tests.broker.proxy.rig import SECONDS

pytestmark = pytest.mark.qemu


async def redirected(qemu: Qemu) -> bool:
    """Whether the machine has a redirected device."""
    command = {"command-line": "info usb"}
    said = await qemu.qmp("human-monitor-command", **command)
    return re.search("480 Mb/s, Product USB Redirection Device", said) is not None


async def booted(talk: Talk, stick: Stick) -> None:
    await talk.until(lambda: stick.sectors_read > 0, SECONDS)
    assert not talk.ended


@pytest.mark.parametrize("kind", ["hand-over", "tcp"])
async def test_a_machine_boots_from_a_redirected_stick(kind: str, tmp_path: Path) -> None:
    """Enumeration, control and bulk transfers both ways: its BIOS does all of it."""
    stick = Stick(IMAGE + bytes(8 * SECTOR))
    async with field_of(kind, tmp_path) as place, assault(place.way()) as them:
        qemu = place.machine.qemu
        async with redirecting(them, stick) as talk:
            await restart(them, talk.session)
            await booted(talk, stick)
            await qemu.says(demo.BANNER)
            assert await redirected(qemu)
            assert stick.machine_caps == 0x7E
            assert {Kind.RESET, Kind.CONTROL_PACKET, Kind.SET_CONFIGURATION} < set(stick.kinds())
            await talk.say(packet(Kind.DEVICE_DISCONNECT))
            await talk.until(lambda: Kind.DEVICE_DISCONNECT_ACK in stick.kinds(), SECONDS)
            assert not talk.ended
            assert not await redirected(qemu)
        assert await qemu.is_alive()
