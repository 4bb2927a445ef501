"""What UEFI's graphics console draws is read: all of its glyphs, wherever its text lies.

`UPDATE_GLYPHS=1` learns them anew, from what the firmware draws for characters that it is given.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from pathlib import Path

import pytest

import tui.live
from broker.model import Firmware
from broker.view import Frame
from broker.vm.asking import Asker
from broker.vm.view import MonitorView
from tests.guests import Home, logged, needs_qemu, qmp
from tests.integration.test_uefi import BOOT_SECONDS, machine
from tui.live.letters import UEFI, Reader, digest, grids

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    needs_qemu,
    pytest.mark.skipif(not Path("/usr/share/OVMF").exists(), reason="no UEFI firmware here"),
]
TABLE = Path(tui.live.__file__).with_name("uefi.txt")
HEAD = (
    "# UEFI's font, a line for each character: its code point, then digests (blake2s, 6 bytes)\n"
    "# of the pixels of its cell and of the rows above a cursor. Learnt, and held to, by\n"
    "# tests/integration/test_live_uefi.py.\n"
)
LINES = (
    "".join(map(chr, range(33, 127))),
    "".join(chr(code) for code in range(0xA1, 0x100) if code != 0xAD),
    "─│┌┐└┘├┤┬┴┼═║╒╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡╢╣╤╥╦╧╨╩╪╫╬█░▲►▼◄←↑→↓",
)
SCRIPT = b"@echo -off\r\ncls\r\nfs0:\r\ntype glyphs.txt\r\n"
END = "THE-END"


def learn(frame: Frame) -> None:
    """Write the table, from a screen that shows `LINES`."""
    # What its shell takes beside a serial terminal.
    grid = next(each for each in grids(frame.width, frame.height) if each.columns == 100)
    step = 3
    blank = bytes(UEFI.width * UEFI.height)
    above = digest(blank[: UEFI.cursor_top * UEFI.width])
    found = {" ": f"0020 {digest(blank).hex()} {above.hex()}\n"}
    for line, text in enumerate(LINES):
        for column, char in enumerate(text):
            ink = bytearray()
            for y in range(UEFI.height):
                at = (grid.top + line * UEFI.height + y) * frame.width
                at = (at + grid.left + column * UEFI.width) * step
                row = frame.data[at : at + UEFI.width * step]
                ink += bytes(any(row[x : x + step]) for x in range(0, len(row), step))
            above = digest(bytes(ink[: UEFI.cursor_top * UEFI.width]))
            found[char] = f"{ord(char):04x} {digest(bytes(ink)).hex()} {above.hex()}\n"
    TABLE.write_text(HEAD + "".join(found.values()), "ascii")


async def test_every_character_of_uefi_is_read_in_its_shell_and_in_its_menu(home: Home) -> None:
    text = "\r\n".join((*LINES, END, "")).encode("utf-16-le")
    files = {"startup.nsh": SCRIPT, "glyphs.txt": codecs.BOM_UTF16_LE + text}
    instance = home.instance(machine(home, files))
    assert instance.spec.firmware is Firmware.UEFI
    asker = Asker(instance.spec.name, instance.paths.qmp)
    view = MonitorView(asker, home.root)
    reader = Reader()
    try:
        await instance.start()
        await logged(instance.paths.serial_log, END.encode(), timeout=BOOT_SECONDS)
        async with asyncio.timeout(BOOT_SECONDS):
            if os.environ.get("UPDATE_GLYPHS"):
                await asyncio.sleep(5)
                learn(await view.frame())
                return
            while (page := reader.read(await view.frame())) is None or END not in page.text:
                pass
        # A cell that is full is a blank one, the other way round.
        assert page.text.splitlines()[: len(LINES)] == [text.replace("█", " ") for text in LINES]
        assert page.glyph == (UEFI.width, UEFI.height)

        for key in (*"exit", "ret"):
            await qmp(instance.paths.qmp, "send-key", {"keys": [{"type": "qcode", "data": key}]})
        async with asyncio.timeout(BOOT_SECONDS):
            while (
                page := reader.read(await view.frame())
            ) is None or "=Select Entry" not in page.text:
                pass
        assert "► Boot Manager" in page.text
        assert "↑↓=Move Highlight" in page.text
        assert page.origin == (0, 2)
    finally:
        await instance.kill()
