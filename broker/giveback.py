"""A terminal that is given back though whoever had it was killed: a small process waits for that.

It is a shell that reads one word and costs nothing meanwhile. The word is said when the terminal
was given back as it should be; a pipe that ends without it means that nobody is left to do so.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Final

RESETS: Final = (
    r"\033[<u"  # kitty's keyboard, which each of its two screens has for itself
    r"\033[?1049l\033[?1000;1002;1003;1004;1006;1015;1016;2004;2026;2048l"
    r"\033[?25h\033[?7h\033[r\033[0m\033(B\033>\r\n"
)
"""What `printf` makes of it ends all that full-screen programs turn on.

Source: XTerm Control Sequences; the kitty keyboard protocol."""
SECONDS: Final = 5.0
_HELPER: Final = 'read -r word; [ "$word" = left ] || { stty "$1" <&1; printf "$2"; }'


@contextlib.contextmanager
def kept(fd: int, resets: str = RESETS) -> Iterator[None]:
    """Have a terminal given back as it is now if this process ends inside the block.

    Where there is no `stty`, the block runs without that.

    Args:
        fd: Open on the terminal, before it is made raw.
        resets: What `printf` shall write to it then.
    """
    helper = _started(fd, resets)
    try:
        yield
    finally:
        if helper is not None and helper.stdin is not None:
            with contextlib.suppress(OSError):
                helper.stdin.write(b"left\n")
                helper.stdin.close()
            helper.wait()


def _started(fd: int, resets: str) -> subprocess.Popen[bytes] | None:
    """A process of a session of its own, which neither Ctrl+C nor a hang-up reaches."""
    try:
        saved = subprocess.run(
            ["stty", "-g"],  # noqa: S607 - the PATH's, like every other program of ours
            stdin=fd,
            capture_output=True,
            check=True,
            text=True,
            timeout=SECONDS,
        ).stdout.strip()
        terminal = os.open(os.ttyname(fd), os.O_RDWR | os.O_NOCTTY)
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        return subprocess.Popen(  # noqa: S603 - our own words, and those of stty
            ["/bin/sh", "-c", _HELPER, "broker-terminal", saved, resets],
            stdin=subprocess.PIPE,
            stdout=terminal,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    finally:
        os.close(terminal)
