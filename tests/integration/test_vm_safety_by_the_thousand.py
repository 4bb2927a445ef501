"""The promise: no viewer that comes through the proxy can crash or freeze a VM, or blind it.

An adversary plays every attack that we know and any number of drawn ones (`tests/adversary`). After
each, QEMU must answer its monitor in time, and now and then a fresh viewer must get a picture.

ADVERSARY_SEED draws the same attacks again; ADVERSARY_TRIES says how many the slow tests draw for
each way to a machine. A failure names the seed, the try, and what the adversary did.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from broker.model import LinkPolicy
from broker.proxy.gate import Policy
from broker.proxy.link_policy import policy_for
from tests.adversary.machines import PRIVATE, WAYS, field_of, sees_a_picture
from tests.adversary.plays import ALL, ELEVEN, Play
from tests.adversary.socket_plays import SOCKET
from tests.adversary.trial import Harmed, Tally, played, siege
from tests.adversary.usb_draw import UsbAttack
from tests.adversary.usb_plays import KILL_BARE, USB

pytestmark = pytest.mark.qemu

SEED = os.environ.get("ADVERSARY_SEED") or secrets.token_hex(4)
TRIES = int(os.environ.get("ADVERSARY_TRIES", "1500"))
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@EVERY_WAY
async def test_drawn_attacks_harm_no_machine(way: str, tmp_path: Path) -> None:
    async with field_of(way, tmp_path) as place:
        tally = await siege(place, SEED, 40, seconds=8)
    assert tally.tries >= 1


@EVERY_WAY
async def test_known_attacks_harm_no_machine(way: str, tmp_path: Path) -> None:
    async with field_of(way, tmp_path) as place:
        for name, play in ALL.items():
            assert not await played(play, place.way(), place.machine), name
        await sees_a_picture(place.way())


@pytest.mark.parametrize("way", PRIVATE)
async def test_what_takes_a_socket_without_tls_harms_no_machine(way: str, tmp_path: Path) -> None:
    async with field_of(way, tmp_path) as place:
        for name, play in SOCKET.items():
            assert not await played(play, place.way(), place.machine), name
            await sees_a_picture(place.way())


LOOKING_ON = policy_for(LinkPolicy(view_only=True))


@pytest.mark.parametrize(("warns", "policy"), [(True, None), (False, LOOKING_ON)])
async def test_a_firewall_that_only_warns_and_a_link_that_allows_less_harm_no_machine(
    warns: bool, policy: Policy | None, tmp_path: Path
) -> None:
    async with field_of("tcp", tmp_path, policy=policy, warns=warns) as place:
        for name, play in ALL.items():
            assert not await played(play, place.way(), place.machine), name
        await siege(place, SEED, 20, seconds=5)


@pytest.mark.parametrize("how", ["bare", "relay"])
async def test_drawn_attacks_harm_a_machine_without_us(how: str, tmp_path: Path) -> None:
    """A check that cannot fail is none."""
    with pytest.raises(Harmed, match=r"died of signal|froze"):
        async with field_of(how, tmp_path) as place:
            await siege(place, "without-us", 200, seconds=240)


@pytest.mark.parametrize("way", ["hand-over", "private"])
async def test_no_known_usb_device_harms_a_machine(way: str, tmp_path: Path) -> None:
    async with field_of(way, tmp_path) as place:
        for name, play in USB.items():
            assert not await played(play, place.way(), place.machine), name


async def test_no_drawn_usb_device_harms_a_machine_though_the_firewall_only_warns(
    tmp_path: Path,
) -> None:
    async with field_of("tcp", tmp_path, warns=True) as place:
        await siege(place, SEED, 40, seconds=8, draw=UsbAttack)


async def test_drawn_usb_devices_harm_a_machine_without_us(tmp_path: Path) -> None:
    """A check that cannot fail is none."""
    with pytest.raises(Harmed, match=r"died of signal|froze"):
        async with field_of("bare", tmp_path) as place:
            await siege(place, "without-us", 200, seconds=240, draw=UsbAttack)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELEVEN)
async def test_each_of_the_eleven_harms_a_machine_without_us(name: str, tmp_path: Path) -> None:
    assert await _harm_of(ELEVEN[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", KILL_BARE)
async def test_such_usb_devices_harm_a_machine_without_us(name: str, tmp_path: Path) -> None:
    assert await _harm_of(USB[name], tmp_path)


async def _harm_of(play: Play, directory: Path) -> str:
    async with field_of("bare", directory) as place:
        return await played(play, place.way(), place.machine)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("vga", ["std", "virtio", "qxl"])
@EVERY_WAY
async def test_thousands_of_drawn_attacks_harm_no_machine(
    way: str, vga: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = max(1, TRIES // 3)
    async with field_of(way, tmp_path, "-vga", vga) as place:
        tally: Tally = await siege(place, f"{SEED}-{way}-{vga}", tries, seconds=1500)
    with capsys.disabled():
        print(f"\n{way}, {vga}, seed {SEED}: {tally}")  # noqa: T201 - the number is the point
    assert tally.tries == tries


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("controller", ["qemu-xhci", "usb-ehci", "piix3-usb-uhci", "nec-usb-xhci"])
async def test_thousands_of_drawn_usb_devices_harm_no_machine(
    controller: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with field_of("hand-over", tmp_path, controller=controller) as place:
        tally = await siege(place, f"{SEED}-usb", TRIES, seconds=1500, draw=UsbAttack)
    with capsys.disabled():
        print(f"\n{controller}, USB devices, seed {SEED}: {tally}")  # noqa: T201 - as above
    assert tally.tries == TRIES
