"""The interface on a terminal that tells presses and releases; a guest that says what it hears."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from broker.runtime import open_service
from tests.guests import needs_qemu
from tests.integration.recorder import FULL, Recorder, needs_nasm, started
from tests.kitty import KittyTerminal

ENTRY = "from broker.cli.main import entry; entry()"
LEADER, ALT, TAB, UP = "\x1b[93;5u", "\x1b[57443;3u", "\x1b[9;3u", "\x1b[57443;1:3u"
PICTURE = (720, 400)
Open = Callable[[], KittyTerminal]


@pytest.fixture
def open_kitty(broker_home: Path) -> Iterator[Open]:
    """Opens terminals with `broker tui` on them."""
    opened: list[KittyTerminal] = []

    def open_one() -> KittyTerminal:
        opened.append(KittyTerminal((sys.executable, "-c", ENTRY, "tui"), cwd=broker_home))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture
async def guest(broker_home: Path) -> AsyncIterator[Recorder]:
    """It runs, and listens."""
    async with open_service() as service:
        machine, recorder = await started(service, broker_home)
        try:
            yield recorder
        finally:
            await service.kill(machine.key)


def typed(text: str) -> str:
    """Letters as the terminal tells them to Textual."""
    return "".join(f"\x1b[{ord(char)};;{ord(char)}u" for char in text)


async def open_live(terminal: KittyTerminal) -> None:
    await terminal.until("● running")
    await terminal.until("● proxy")
    terminal.say(typed("l"))
    await terminal.until("keyboard: guest")


async def leave_live(terminal: KittyTerminal) -> None:
    terminal.say(LEADER)
    await terminal.until("Send a real Ctrl-]")
    terminal.say(typed("."))
    await terminal.until("1 Consoles")


@needs_qemu
@needs_nasm
@pytest.mark.qemu
async def test_keys_pastes_and_the_mouse_reach_the_guest_and_a_kill_leaves_nothing_behind(
    open_kitty: Open, guest: Recorder
) -> None:
    recorder = guest
    terminal = open_kitty()
    await open_live(terminal)
    await terminal.until(lambda: terminal.flags == 31)
    terminal.say("\x1b[108;1:3u", ALT, TAB, "\x1b[9;3:3u", TAB, "\x1b[9;3:3u", UP)
    await recorder.until(lambda: recorder.keys.endswith("B8"))
    assert recorder.keys == "38 0F 8F 0F 8F B8"

    terminal.say(LEADER)
    await terminal.until("Keyboard layout of the guest")
    terminal.say(typed("k"))
    await terminal.until("us, de, fr, uk")
    await replace_line(terminal, "us", "de")
    recorder.forget()
    terminal.say("\x1b[200~yz\x1b[201~")
    await recorder.until(lambda: recorder.keys.endswith("95"))
    assert recorder.keys == "2C AC 15 95"

    await the_mouse(terminal, recorder)
    await leave_live(terminal)
    await terminal.until(lambda: terminal.flags == 25)

    # That session is over for whoever looks, too.
    await terminal.until(lambda: re.search(r"localhost +· ", terminal.text()))
    await open_live(terminal)
    recorder.forget()
    terminal.say(ALT)
    await recorder.until(lambda: recorder.keys == "38")
    assert terminal.flags == 31
    terminal.process.send_signal(signal.SIGKILL)
    await terminal.until(lambda: terminal.is_sane)
    await recorder.until(lambda: recorder.keys == "38 B8")


async def replace_line(terminal: KittyTerminal, old: str, new: str) -> None:
    """In a prompt; each step is waited for, as a person does."""
    await terminal.until(f" {old} ")
    terminal.say("\x1b[127u" * len(old))
    await terminal.until(f" {old} ", gone=True)
    terminal.say(typed(new))
    await terminal.until(f" {new} ")
    terminal.say("\x1b[13u")
    await terminal.until("us, de, fr, uk", gone=True)


async def the_mouse(terminal: KittyTerminal, recorder: Recorder) -> None:
    """A click says the guest's pixel, in its text and zoomed into its pixels."""
    recorder.forget()
    terminal.say("\x1b[<0;51;16M\x1b[<0;51;16m")
    await recorder.until(lambda: any(move[0] for move in recorder.pointed))
    # 80 columns in the middle of 100, 25 lines in the middle of 29 below the first.
    first = ((50 - 10) * 9 + 4, (14 - 2) * 16 + 8)
    is_at(recorder, first)

    terminal.say(LEADER)
    await terminal.until("Zoom: all of it")
    terminal.say(typed("z"))
    await terminal.until("720x400 1:1")
    recorder.forget()
    terminal.say("\x1b[<0;71;21M\x1b[<0;71;21m")
    await recorder.until(lambda: any(move[0] for move in recorder.pointed))
    # A pixel for each column, two for each line; where the pointer was is in the middle.
    is_at(recorder, (first[0] - 50 + 70, first[1] - 29 + 2 * 19 + 1))


def is_at(recorder: Recorder, pixel: tuple[int, int]) -> None:
    _, x, y, _ = next(move for move in recorder.pointed if move[0])
    seen = (x * PICTURE[0] / FULL, y * PICTURE[1] / FULL)
    assert abs(seen[0] - pixel[0]) <= 1.5, (seen, pixel)
    assert abs(seen[1] - pixel[1]) <= 1.5, (seen, pixel)


@pytest.mark.parametrize(
    ("end", "code"), [("q", 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)], ids=["q", "int", "kill"]
)
async def test_however_it_ends_the_terminal_is_as_it_was(
    open_kitty: Open, end: str | signal.Signals, code: int
) -> None:
    terminal = open_kitty()
    await terminal.until("No consoles yet")
    await terminal.until(lambda: terminal.flags == 25)
    assert not terminal.is_sane
    if isinstance(end, str):
        terminal.say(typed(end))
    else:
        terminal.process.send_signal(end)
    await terminal.until(lambda: terminal.process.poll() is not None)
    await terminal.until(lambda: terminal.is_sane)
    assert terminal.process.returncode == code
    assert "Traceback" not in terminal.text()
