"""What is put in order though whoever had to was killed: a terminal, say. A shell waits for that.

It reads one word and costs nothing meanwhile. The word is said when everything is as it should be;
a pipe that ends without it means that nobody is left to see to that.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import termios
from collections.abc import Iterator, Mapping
from typing import Final

RESETS: Final = (
    r"\033[<u"  # kitty's keyboard, which each of its two screens has for itself
    r"\033[?1049l\033[?1000;1002;1003;1004;1006;1015;1016;2004;2026;2048l"
    r"\033[?25h\033[?7h\033[r\033[0m\033(B\033>\r\n"
)
"""What `printf` makes of it ends all that full-screen programs turn on.

Source: XTerm Control Sequences; the kitty keyboard protocol."""
SECONDS: Final = 5.0
_HELPER: Final = 'read -r word; if [ "$word" != left ]; then\n{deed}\nfi'
_GIVE_BACK: Final = 'stty "$1" <&1; printf "$2"'


@contextlib.contextmanager
def kept(fd: int, resets: str = RESETS) -> Iterator[None]:
    """Have a terminal given back as it is now if this process ends inside the block.

    Where no shell can be started, the block runs without that.

    Args:
        fd: Open on the terminal, before it is made raw.
        resets: What `printf` shall write to it then.
    """
    try:
        saved = as_stty(fd)
        terminal = os.open(os.ttyname(fd), os.O_RDWR | os.O_NOCTTY)
    except (OSError, termios.error):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(if_killed(_GIVE_BACK, saved, resets, output=terminal))
        finally:
            os.close(terminal)
        yield


def as_stty(fd: int) -> str:
    """How a terminal is set, as `stty -g` says it and `stty` takes it; faster than a process.

    Raises:
        termios.error: It is no terminal.
    """
    *flags, _, _, characters = termios.tcgetattr(fd)
    codes = (one if isinstance(one, int) else one[0] for one in characters)
    return ":".join(f"{number:x}" for number in (*flags, *codes))


@contextlib.contextmanager
def if_killed(
    deed: str,
    *arguments: str,
    output: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Have a shell do something if this process ends inside the block, and only then.

    The shell is in a session of its own, which neither Ctrl+C nor a hang-up reaches. Where there
    is none, the block runs without that.

    Args:
        deed: A command line for the shell; a constant of ours.
        arguments: What stands for `$1`, `$2` and so on in it.
        output: Where what it says goes.
        env: Its environment; ours when None.
    """
    try:
        helper = subprocess.Popen(  # noqa: S603 - our own words
            ["/bin/sh", "-c", _HELPER.format(deed=deed), "broker-waits", *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        assert helper.stdin is not None
        with contextlib.suppress(OSError):
            helper.stdin.write(b"left\n")
            helper.stdin.close()
        _awaited(helper)


def _awaited(helper: subprocess.Popen[bytes]) -> None:
    """See it end; one that does not must not keep a person from their shell."""
    try:
        helper.wait(SECONDS)
    except subprocess.TimeoutExpired:
        helper.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.wait(SECONDS)
