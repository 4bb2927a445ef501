"""A session without a window, on a real QEMU: through the proxy, and directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker import demo, vv
from broker.errors import Refused, Unreachable, UsageError
from broker.headless.inbox import Inbox
from broker.headless.pointer import Button, Pointer
from broker.headless.session import Heard, Session, opened
from broker.headless.wire import Dial, dialer, target_of
from broker.model import HandOverTarget, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer
from broker.spice.constants import ChannelType, ClientDisplay
from broker.spice.screen import Painted
from broker.spice.wire import DisplayInit, message
from tests.broker.proxy.qemu import Qemu, running_qemu
from tests.broker.proxy.rig import Rig, proxying
from tests.guests import needs_qemu
from tests.integration.test_proxy_qemu import tls

pytestmark = [pytest.mark.qemu, needs_qemu]

KEY_A = 0x1E


@pytest.fixture
async def machine() -> AsyncIterator[Qemu]:
    async with running_qemu("agent-mouse=on") as qemu:
        yield qemu


@pytest.fixture
async def rig(machine: Qemu, tmp_path: Path) -> AsyncIterator[Rig]:
    async with proxying(tmp_path, dialer=TargetDialer(machine)) as rig:
        rig.gate.allow(HandOverTarget(f"{machine.directory}/ctl"))
        yield rig


def directly(machine: Qemu) -> Dial:
    return dialer(HandOverTarget(f"{machine.directory}/ctl"), machine)


def proxied(rig: Rig) -> tuple[Dial, str]:
    file = vv.parse(rig.vv())
    return dialer(target_of(file)), file.password


async def press_and_look(machine: Qemu, session: Session) -> None:
    before = await session.picture()
    await session.press(KEY_A)
    await machine.says(demo.ANSWERS[1])
    assert await session.picture(other_than=before) != before
    assert not session.screen.undrawn


async def test_through_the_proxy(machine: Qemu, rig: Rig) -> None:
    async with opened(*proxied(rig)) as session:
        assert session.tls.startswith("TLS")
        assert (ChannelType.CURSOR, 0) in session.offered
        await press_and_look(machine, session)


async def test_directly_to_the_machine(machine: Qemu) -> None:
    async with opened(directly(machine), "") as session:
        assert session.tls == ""
        await press_and_look(machine, session)
    assert await machine.is_alive()


async def test_a_file_of_a_hypervisor_that_speaks_tls(tmp_path: Path) -> None:
    """QEMU's own TLS port, its certificate held against the file's CA and subject."""
    async with tls(tmp_path) as machine:
        assert isinstance(machine.target, TcpTarget)
        file = vv.VvFile(
            host=machine.target.host,
            tls_port=machine.target.tls_port,
            password=machine.ticket,
            ca=machine.target.ca_pem,
            host_subject=machine.target.host_subject,
        )
        read = vv.parse(vv.render(file, profile="minimal"))
        async with opened(dialer(target_of(read)), read.password) as session:
            assert session.tls.startswith("TLS")
            await press_and_look(machine.qemu, session)
        other = replace(read, host_subject="CN=elsewhere")
        with pytest.raises(Unreachable, match="certificate"):
            async with opened(dialer(target_of(other)), read.password):
                pass


async def test_a_listener_is_told_of_drawing_with_its_moment(machine: Qemu, rig: Rig) -> None:
    heard: list[Heard] = []
    async with opened(*proxied(rig)) as session:
        await session.settle()
        with session.listening(heard.append):
            pressed = asyncio.get_running_loop().time()
            await session.press(KEY_A)
            await session.until(
                lambda: next((h for h in heard if isinstance(h.event, Painted)), None)
            )
        drawn = next(h for h in heard if isinstance(h.event, Painted))
        assert (drawn.channel, drawn.number) == (ChannelType.DISPLAY, 0)
        assert drawn.at > pressed


async def test_a_mouse_without_a_place_moves_and_clicks() -> None:
    """QEMU's own trace tells what its mouse was told."""
    trace = ("-trace", "input_event_rel", "-trace", "input_event_btn")
    async with (
        running_qemu("agent-mouse=off", *trace) as machine,
        opened(directly(machine), "") as session,
    ):
        pointer = Pointer(session)
        with pytest.raises(Unreachable, match="tablet"):
            await pointer.point(1, 1)
        await pointer.move(7, -3)
        await pointer.click(Button.MIDDLE)
        await pointer.click(Button.DOWN)
        await machine.traced(
            *("axis x, value 7", "axis y, value -3"),
            *("button middle, down 1", "button middle, down 0"),
            *("button wheel-down, down 1", "button wheel-down, down 0"),
        )


async def test_the_end_of_the_machine_ends_the_session(machine: Qemu, rig: Rig) -> None:
    async with opened(*proxied(rig)) as session:
        machine.process.kill()
        async with asyncio.timeout(60):
            assert "closed" in await session.ended
        with pytest.raises(Unreachable, match="closed"):
            await session.press(KEY_A)
        with pytest.raises(Unreachable, match="closed"):
            await session.until(lambda: None)


async def test_a_password_that_opens_nothing(rig: Rig) -> None:
    dial, _ = proxied(rig)
    with pytest.raises(Refused, match="password"):
        async with opened(dial, "wrong"):
            pass


async def test_a_certificate_for_somebody_else(rig: Rig) -> None:
    file = replace(vv.parse(rig.vv()), host_subject="CN=elsewhere")
    with pytest.raises(Unreachable, match="certificate"):
        async with opened(dialer(target_of(file)), file.password):
            pass


async def test_nobody_there() -> None:
    with pytest.raises(Unreachable):
        async with opened(dialer(TcpTarget("127.0.0.1", port=1)), ""):
            pass


async def test_a_display_that_is_given_up_is_left_only_once_it_is_set_up(machine: Qemu) -> None:
    """Directly on a spice-server, which dies when a display goes away too soon."""
    for _ in range(10):
        with pytest.raises(asyncio.CancelledError):
            async with opened(Leaving(directly(machine)), ""):
                pass
        asyncio.current_task().uncancel()  # type: ignore[union-attr]  # a test is a task
        assert await machine.is_alive()


INIT = message(ClientDisplay.INIT, DisplayInit().encode())


class Leaving:
    """Dials, and has the session given up as soon as its display has said INIT."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def __call__(self) -> Inbox:
        wire = await self._dial()
        task, write = asyncio.current_task(), wire.write
        assert task is not None

        def writes(data: bytes) -> None:
            write(data)
            if INIT in data:
                task.cancel()

        wire.write = writes  # type: ignore[method-assign]  # to see what is said
        return wire


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (vv.VvFile(type="vnc", host="a", port=1), "vnc"),
        (vv.VvFile(host="a"), "no host and port"),
        (vv.VvFile(port=5900), "no host and port"),
    ],
)
def test_a_file_that_leads_nowhere(file: vv.VvFile, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        target_of(file)


def test_a_file_for_a_unix_socket() -> None:
    assert target_of(vv.VvFile(unix_path="/run/x")) == UnixTarget("/run/x")
