"""Copying disk images: `qemu-img convert`, followed by its percents, ended when nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, StoreError, UsageError
from broker.vm.disks import QEMU_IMG
from broker.vm.paths import cannot_use
from broker.within import within

SILENT_SECONDS: Final = 300.0
"""How long `qemu-img` may say nothing; it tells every hundredth, so a slow disk is not cut off."""
END_SECONDS: Final = 10.0
_PERCENT: Final = re.compile(rb"\((\d+)(?:\.\d+)?/100%\)")
_MOST_WORDS: Final = 2000


async def copy_image(
    source: Path, its_format: str, to: Path, new_format: str, tell: Callable[[int], None]
) -> None:
    """Write what is in an image into a new one, mode 0600, on its own: overlays become whole.

    Snapshots that are kept in the image are not copied.

    Args:
        tell: Told how many percent are done, each number once.

    Raises:
        UsageError: There is no `qemu-img`, or it will not: its own words.
        StoreError: The file system is full or read-only.
        BrokerError: It said nothing for too long.
    """
    await _run(
        ("convert", "-p", "-f", its_format, "-O", new_format, str(source), str(to)), to, tell
    )


async def overlay(backing: Path, its_format: str, to: Path) -> None:
    """Make an image, mode 0600, that holds only what differs from another; raises as `copy_image`.

    That other one must not change from now on.
    """
    words = ("create", "-q", "-f", "qcow2", "-b", str(backing), "-F", its_format, str(to))
    await _run(words, to, lambda _: None)


async def _run(words: Sequence[str], to: Path, tell: Callable[[int], None]) -> None:
    program = shutil.which(QEMU_IMG)
    if program is None:
        raise UsageError(
            f"Disks cannot be copied: {QEMU_IMG} is not installed",
            fix="Install it: apt install qemu-utils, dnf install qemu-img",
        )
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        umask=0o077,
    )
    assert process.stdout is not None
    said, done = b"", -1
    try:
        async for chunk in _chunks(process.stdout):
            said = (said + chunk)[-_MOST_WORDS:]
            if (found := _PERCENT.findall(chunk)) and (percent := int(found[-1])) > done:
                done = percent
                tell(percent)
        code = await process.wait()
    except TimeoutError as exc:
        raise BrokerError(
            f"{QEMU_IMG} has said nothing about {to} for {SILENT_SECONDS:g} seconds",
            fix="Look whether that disk or network share hangs",
        ) from exc
    finally:
        await _end(process)
    if code:
        raise _refused(to, said)


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        async with within(SILENT_SECONDS):
            chunk = await stream.read(4096)
        if not chunk:
            return
        yield chunk


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that it has gone, and all that came through its pipe is read."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.communicate()


def _refused(to: Path, said: bytes) -> UsageError | StoreError:
    words = " ".join(_PERCENT.sub(b"", said).decode("utf-8", "replace").split())
    words = words.removeprefix(f"{QEMU_IMG}: ")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        if os.strerror(number) in words:
            return cannot_use(to, OSError(number, os.strerror(number)))
    fix = "Look at that image: qemu-img info"
    if "lock" in words:
        fix = "Something runs on that image: stop it first"
    return UsageError(f'The disk was not copied: {QEMU_IMG} says "{words}"', fix=fix)
