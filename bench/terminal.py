"""A program on a pseudo-terminal, and what a person in front of it would see.

What it writes is played into a terminal emulator, and the emulator's screen is asked: a program
may repaint three cells of a word, and the bytes say nothing then. Each piece is kept with the
moment it was read and played only when no more comes, so the emulator's own work delays nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

PATIENCE = 60.0
"""Seconds after which what has not shown has failed."""
SETTLED = 0.02
"""A program that has written nothing for so long is thinking, or done."""
RESTLESS = 5.0
"""A program that has not rested by so many seconds later does not."""
SAID = 12
"""Lines of the screen in an error."""
READ = 65536
SLICE = 0.01
"""Seconds of a slow line that are read at once."""

ANSWERS = {
    b"\x1b[c": b"\x1b[?62;22c",
    b"\x1b[?2026$p": b"\x1b[?2026;2$y",
    b"\x1b[?2048$p": b"\x1b[?2048;0$y",
}
"""What a usual terminal answers to the questions a program asks."""
_QUESTION = re.compile(rb"(?:\x1b\[(\d+;\d+)H)?\x1b\[6n|" + b"|".join(map(re.escape, ANSWERS)))
"""One of them, or where the cursor is, which then has just been put there."""
_LONGEST = 15

Shows = Callable[[list[str]], bool]
"""Asked of the lines of a screen."""


class Terminal:
    """One program, from its start to its end.

    Args:
        rate: Bytes a second of the line to it; None takes them as they come. What is on its way
            is shown, and answered, only when its last byte has come over.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 160,
        rows: int = 48,
        rate: float | None = None,
    ) -> None:
        self.written = 0
        """Bytes that were read of it."""
        self.rate = rate
        self.tap: Callable[[float, bytes], None] | None = None
        """Told of what is read instead of the emulator, which is too slow for a video."""
        self._unplayed: deque[tuple[float, bytes]] = deque()
        self._is_gone = False
        self._tail = b""
        self._free = 0.0
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.begun = self.last = time.perf_counter()
        """`begun`: before the fork. `last`: when what was played last had come."""
        self.pid, self._master = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(argv[0], list(argv), dict(env))

    def press(self, keys: str) -> float:
        """Type; the moment. What was read is played before: it would keep us from the answer."""
        self.catch_up()
        moment = time.perf_counter()
        os.write(self._master, keys.encode())
        return moment

    def until(self, shows: Shows, seconds: float = PATIENCE) -> float:
        """The moment at which the screen showed that; at once if it does already.

        Raises:
            RuntimeError: It did not in time; what was on the screen is in the message.
        """
        return self.watch(lambda: shows(self.lines), seconds)

    def watch(self, holds: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """The same of anything that can be asked of `lines` and `colours`."""
        deadline = time.perf_counter() + seconds
        if not self._unplayed and holds():
            return self.last
        while True:
            while self._unplayed:
                self._play()
                if holds():
                    return self.last
            if time.perf_counter() > deadline or not self._read(deadline):
                break
            while self.rate is None and self._read(time.perf_counter() + SETTLED):
                pass
        raise RuntimeError(
            f"that did not show within {seconds:.0f} s; the screen was:\n{self._shown}"
        )

    def listen(self, seconds: float, *, quiet: bool = False) -> None:
        """Read for that long; with `quiet` until nothing has come for so long, if it ever rests."""
        deadline = time.perf_counter() + seconds
        restless = deadline + RESTLESS
        while time.perf_counter() < deadline and self._read(deadline):
            if quiet:
                deadline = min(restless, time.perf_counter() + seconds)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, what was read so far being played."""
        return list(self._screen.display)

    def colours(self, column: int, row: int) -> tuple[str, str]:
        """A cell's two colours as hex digits, what was played so far."""
        cell = self._screen.buffer[row][column]
        return cell.fg, cell.bg

    @property
    def _shown(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines[:SAID] if line.strip())

    def catch_up(self) -> None:
        """Play what was read."""
        while self._unplayed:
            self._play()

    def cost(self, seconds: float) -> tuple[float, float]:
        """Per cent of a core that its threads took over that time, and the bytes a second.

        Raises:
            RuntimeError: It has ended: nothing costs nothing.
        """
        before, begun, spent = self.written, time.perf_counter(), self.cpu()
        self.listen(seconds)
        took = time.perf_counter() - begun
        self.catch_up()
        if self._is_gone:
            raise RuntimeError(f"it ended while it was measured; the screen was:\n{self._shown}")
        return (self.cpu() - spent) / took * 100, (self.written - before) / took

    def cpu(self) -> float:
        """Seconds of processor time it has taken, by the kernel's own clock of that process."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def end(self) -> None:
        """End it; it has nothing to lose in its throw-away home."""
        os.kill(self.pid, signal.SIGTERM)
        limit = time.perf_counter() + 5
        while time.perf_counter() < limit:
            # Keep reading: a program that is writing its goodbye must not hang on a full terminal.
            if select.select([self._master], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    os.read(self._master, READ)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        """Read once; False when nothing came until then, or nothing more can."""
        left = deadline - time.perf_counter()
        if not select.select([self._master], [], [], max(0.0, left))[0]:
            return False
        try:
            data = os.read(self._master, READ if self.rate is None else self._slice)
        except OSError:  # the program is gone
            self._is_gone = True
            return False
        self.written += len(data)
        if self.rate is not None:
            self._free = max(self._free, time.perf_counter()) + len(data) / self.rate
            time.sleep(max(0.0, self._free - time.perf_counter()))
        moment = time.perf_counter()
        self._answer(data)
        if self.tap is not None:
            self.tap(moment, data)
        else:
            self._unplayed.append((moment, data))
        return bool(data)

    @property
    def _slice(self) -> int:
        assert self.rate is not None
        return max(1, int(self.rate * SLICE))

    def _answer(self, data: bytes) -> None:
        whole = self._tail + data
        end = 0
        for found in _QUESTION.finditer(whole):
            place = b"\x1b[%sR" % (found[1] or b"1;1")
            os.write(self._master, ANSWERS.get(found[0], place))
            end = found.end()
        self._tail = whole[max(end, len(whole) - _LONGEST) :]

    def _play(self) -> None:
        self.last, data = self._unplayed.popleft()
        self._stream.feed(data)


def has(text: str) -> Shows:
    """Whether that stands somewhere on the screen."""
    return lambda lines: any(text in line for line in lines)
