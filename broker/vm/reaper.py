"""Starting QEMU so that somebody learns how it ends, whoever of us is still there.

Only a parent learns an exit code, and QEMU outlives the broker that started it. So its parent is a
shell of a few hundred kilobytes that waits for it and writes the code into a file. When that shell
is killed too, QEMU goes on, and nobody knows its code.

The shell gets its script by its stdin, not by its arguments: QEMU's command line stands in the
process list once.
"""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.vm import process
from broker.vm.process import Process

SHELL: Final = "/bin/sh"
LONGEST: Final = 64
"""Bytes of the file with the code: a process id and a number."""
_SIGNALLED: Final = 128
"""What a shell adds to the signal that ended a program. QEMU's own codes are 0 and 1, but for
`isa-debug-exit`, by which a guest can choose any odd one and so claim a signal."""

_SCRIPT: Final = """\
trap '' PIPE
exec 3>&2 2>/dev/null
{command} </dev/null >&3 2>&3 3>&- &
echo $!
exec >/dev/null 3>&-
umask 077
wait $!
echo "$! $?" >{ending}
"""
"""QEMU's output goes to the log; the shell's own remarks (`Killed`) go nowhere. The broker may be
gone before it has read the process id."""

_waiters: set[int] = set()
"""Shells we started ourselves: we must reap them."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A QEMU that was just started, and the shell that waits for it."""

    qemu: Process
    waiter: Process


def spawn(
    argv: Sequence[str], log: Path, ending: Path, *, cwd: Path, env: Mapping[str, str], name: str
) -> Spawned:
    """Start a program that will outlive us: a session of its own, no terminal, output to `log`.

    Args:
        ending: Where its exit code is written; what is there is removed.
        name: What `ps` is to call the shell that waits.

    Raises:
        OSError: It cannot be executed, or `log` cannot be written.
    """
    if not os.access(argv[0], os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), argv[0])
    reap()
    ending.unlink(missing_ok=True)
    script = os.memfd_create("script")
    try:
        os.write(script, _script(argv, ending))
        os.lseek(script, 0, os.SEEK_SET)
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603 - the script is quoted by us
                [f"console-broker: waits for {name}", "-s"],
                executable=SHELL,
                stdin=script,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
    finally:
        os.close(script)
    child.returncode = 0  # `reap` waits for it; without this Popen warns of what outlives it
    _waiters.add(child.pid)
    assert child.stdout is not None
    with child.stdout:
        said = child.stdout.readline().strip()
    pid = int(said) if said.isdigit() else 0
    return Spawned(_of(pid), _of(child.pid))


def reap() -> None:
    """Let go of shells that have ended."""
    for pid in tuple(_waiters):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # somebody else in this process waited for it
            ended = pid
        if ended:
            _waiters.discard(pid)


async def outcome(ending: Path, pid: int, waiter: Process | None, *, timeout: float) -> int | None:
    """The exit code of a QEMU that has ended (negative: the signal); None when nobody knows it.

    Args:
        pid: Of that QEMU; what is written of another is none of its.
        waiter: The shell that is to write it down; None when none is known.
        timeout: Seconds it has for that.
    """
    if waiter is not None:
        await process.wait_gone(waiter, timeout)
        reap()
    return read(ending, pid)


def read(ending: Path, pid: int) -> int | None:
    """The exit code of that process, if it stands there."""
    try:
        with ending.open("rb") as file:
            words = file.read(LONGEST).split()
    except OSError:
        return None
    if words[:1] != [b"%d" % pid] or not b"".join(words[1:]).isdigit():
        return None
    code = int(words[1])
    return _SIGNALLED - code if code > _SIGNALLED else code


def _script(argv: Sequence[str], ending: Path) -> bytes:
    quoted = _SCRIPT.format(command=shlex.join(argv), ending=shlex.quote(str(ending)))
    return os.fsencode(quoted)


def _of(pid: int) -> Process:
    """The process of that number; one that is gone already is of no time."""
    return process.of_pid(pid) or Process(pid, 0)
