"""A terminal that speaks kitty's keyboard protocol, on a pty: what it shows, what it was told.

It keeps the protocol's flags as kitty does, a stack for each of its two screens, and the modes that
programs switch, so that a test can see whether all of them were switched back.

Source: the kitty keyboard protocol, "Progressive enhancement"; XTerm Control Sequences.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

PATIENCE = 120.0
_TOLD = re.compile(
    rb"\x1b\[(?:(?P<how>[>=<?])(?P<flags>[\d;]*)u|(?P<who>c)|(?P<where>6n)"
    rb"|\?(?P<modes>[\d;]+)(?P<set>[hl]))"
)
_BEGUN = re.compile(rb"\x1b(?:\[[\x20-\x3f]*)?\Z")


class KittyTerminal:
    """One program on it.

    Args:
        speaks: Whether it knows the protocol; others stay silent on that.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (100, 30),
        speaks: bool = True,
    ) -> None:
        self.modes: set[int] = {7, 25}
        self.written = bytearray()
        self._speaks = speaks
        self._flags: dict[bool, list[int]] = {False: [], True: []}
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._far, near = pty.openpty()
        fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.settings = termios.tcgetattr(near)
        self._near = near
        environment = {**os.environ, **(env or {}), "TERM": "xterm-kitty"}
        for name in ("TMUX", "STY", "DISPLAY", "WAYLAND_DISPLAY", "COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command,
            stdin=near,
            stdout=near,
            stderr=near,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="kitty")
        self._reader.start()

    def close(self) -> None:
        """End the program, and the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._near)  # with its last holder gone, reading ends
        self._reader.join()
        os.close(self._far)

    @property
    def flags(self) -> int:
        """What is told of keys on the screen that shows."""
        return (self._flags[1049 in self.modes] or [0])[-1]

    @property
    def is_sane(self) -> bool:
        """Whether a shell would find it as it was."""
        with self._lock:
            return (
                self.modes == {7, 25}
                and not any(self._flags.values())
                and termios.tcgetattr(self._near) == self.settings
            )

    def say(self, *keys: str) -> None:
        """What a keyboard or a mouse says."""
        os.write(self._far, "".join(keys).encode())

    def text(self) -> str:
        """What can be seen."""
        with self._lock:
            return "\n".join(self._screen.display)

    async def until(self, wanted: str | Callable[[], object], *, gone: bool = False) -> None:
        """Wait for a text to be (not) there, or for something else."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._holds(wanted) is gone:  # noqa: ASYNC110 - a screen tells nobody
                    await asyncio.sleep(0.03)
        except TimeoutError as exc:
            raise AssertionError(f"waited for {wanted!r}, saw:\n{self.text()}") from exc

    def _holds(self, wanted: str | Callable[[], object]) -> bool:
        return bool(wanted() if callable(wanted) else wanted in self.text())

    def _read(self) -> None:
        begun = b""
        while True:
            try:
                data = os.read(self._far, 65536)
            except OSError:
                return
            with self._lock:
                self.written += data
                data = begun + data
                cut = _BEGUN.search(data)
                begun = data[cut.start() :] if cut else b""
                data = data[: cut.start()] if cut else data
                self._stream.feed(_TOLD.sub(self._told, data))

    def _told(self, told: re.Match[bytes]) -> bytes:
        """Do as told, or answer; the screen is not to hear of it."""
        if told["modes"]:
            for mode in map(int, told["modes"].split(b";")):
                (self.modes.add if told["set"] == b"h" else self.modes.discard)(mode)
        elif told["who"]:
            self._answer("\x1b[?62;22c")
        elif told["where"]:
            self._answer("\x1b[1;1R")
        elif self._speaks:
            self._keyboard(told["how"], told["flags"])
        return b""

    def _keyboard(self, how: bytes, flags: bytes) -> None:
        stack = self._flags[1049 in self.modes]
        if how == b"?":
            self._answer(f"\x1b[?{self.flags}u")
        elif how == b">":
            stack.append(int(flags or 0))
        elif how == b"<":
            del stack[-int(flags or 1) :]
        elif stack:
            stack[-1] = int(flags.split(b";")[0])

    def _answer(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._far, text.encode())
