"""Media of a VM that runs: what is in its drives, and changing that. And its network cable.

An image is always taken as raw: its bytes may be the guest's own, and what a guest writes must not
choose how the host reads it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker.errors import Refused, UsageError
from broker.guest import Drive
from broker.human import did_you_mean
from broker.vm.asking import Asker
from broker.vm.monitor import CommandRefused

_LOCKED: Final = "is locked"
_CARD: Final = re.compile(r"^(\S+): index=\d+,type=nic,", re.MULTILINE)
"""A network card in what QEMU's `info network` prints; QMP has no such question."""


async def blocks(asker: Asker) -> list[dict[str, object]]:
    """What QEMU says of every drive and disk; raises as `Asker.ask`."""
    answer = await asker.one("query-block")
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []


async def drives(asker: Asker) -> list[Drive]:
    """The drives whose medium can be changed; raises as `Asker.ask`."""
    return [_drive(block) for block in await blocks(asker) if block.get("removable")]


def _drive(block: dict[str, object]) -> Drive:
    inserted = block.get("inserted")
    medium = inserted if isinstance(inserted, dict) else {}
    return Drive(
        id=str(block.get("qdev") or block.get("device")),
        kind="cdrom" if "tray_open" in block else "floppy",  # of the two, one has a tray
        image=str(medium.get("file", "")),
        locked=bool(block.get("locked")),
        tray_open=bool(block.get("tray_open")),
        readonly=bool(medium.get("ro", True)),
    )


async def insert(asker: Asker, image: str, *, drive: str, force: bool) -> Drive:
    """Put an image into a drive; see `broker.guest.Guest.insert`."""
    await asyncio.to_thread(_check, Path(image))
    chosen = _choose(asker.name, await drives(asker), drive)
    readonly = chosen.kind == "cdrom" or not os.access(image, os.W_OK)
    said: dict[str, object] = {"id": chosen.id, "filename": image, "format": "raw"}
    said["read-only-mode"] = "read-only" if readonly else "read-write"
    if force:
        said["force"] = True  # known since QEMU 7.1, so named only when asked for
    try:
        await asker.one("blockdev-change-medium", said)
    except CommandRefused as exc:
        raise _told(asker.name, chosen, exc) from exc
    return await _again(asker, chosen)


def _check(image: Path) -> None:
    try:
        mode = image.stat().st_mode
        why = "" if stat.S_ISREG(mode) or stat.S_ISBLK(mode) else "is not a file"
    except OSError as exc:
        why = "is not there" if exc.errno == errno.ENOENT else f"cannot be used ({exc.strerror})"
    if why:
        raise UsageError(f"{image} {why}", fix="Name an image, such as an ISO")


async def eject(asker: Asker, *, drive: str, force: bool) -> Drive:
    """Take the medium out of a drive; see `broker.guest.Guest.eject`."""
    chosen = _choose(asker.name, await drives(asker), drive)
    try:
        await asker.one("eject", {"id": chosen.id, "force": force})
    except CommandRefused as exc:
        raise _told(asker.name, chosen, exc) from exc
    return await _again(asker, chosen)


def _choose(name: str, known: Sequence[Drive], wanted: str) -> Drive:
    ids = [each.id for each in known]
    if not known:
        raise UsageError(
            f"{name} has no drive whose medium can be changed",
            fix="Define it with a CD drive: broker vm define NAME --cdrom FILE",
        )
    if not wanted and len(known) > 1:
        raise UsageError(
            f"{name} has several drives: {', '.join(ids)}", fix="Say which with --drive"
        )
    if wanted and wanted not in ids:
        fix = did_you_mean(wanted, ids) or f"Drives are: {', '.join(ids)}"
        raise UsageError(f"{name} has no drive {wanted}", fix=fix)
    return known[ids.index(wanted)] if wanted else known[0]


def _told(name: str, drive: Drive, problem: CommandRefused) -> Exception:
    if _LOCKED not in problem.what:
        return problem
    return Refused(
        f"{name}: the guest holds {drive.id} shut; it was asked to let go",
        reason="locked",
        fix="Ask again in a moment, or take it by force: --force",
    )


async def _again(asker: Asker, drive: Drive) -> Drive:
    """That drive as it is now."""
    return next((each for each in await drives(asker) if each.id == drive.id), drive)


async def link(asker: Asker, *, up: bool, card: str) -> tuple[str, ...]:
    """Plug the network cable in or pull it out; see `broker.guest.Guest.link`."""
    said = await asker.one("human-monitor-command", {"command-line": "info network"})
    cards = tuple(_CARD.findall(str(said).replace("\r", "")))
    if not cards or (card and card not in cards):
        what = f"no network card {card}" if card and cards else "no network card"
        fix = f"Cards are: {', '.join(cards)}" if cards else "Define it with --network user"
        raise UsageError(f"{asker.name} has {what}", fix=fix)
    meant = (card,) if card else cards
    for each in meant:
        await asker.one("set_link", {"name": each, "up": up})
    return meant
