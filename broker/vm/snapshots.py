"""Snapshots of a VM that runs: saved, loaded and forgotten by jobs that are followed to their end.

QEMU's answer to `snapshot-save` only says that a job was begun. While one runs, QEMU answers
nothing at all for as long as writing the guest's memory takes, so silence is no trouble here; the
monitor is asked anew each time and is nobody's meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from broker.errors import BrokerError, NotFound, OutcomeUnknown, Refused, UsageError, VmUnresponsive
from broker.guest import Snapshot
from broker.human import did_you_mean
from broker.vm.asking import Asker
from broker.vm.media import blocks
from broker.within import within

JOB: Final = "broker-snapshot-"
MAX_TAG_BYTES: Final = 127
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.5
_FORMAT: Final = "qcow2"
_CAN_GO_BACK: Final = frozenset({"running", "paused", "suspended", "prelaunch", "restore-vm"})
_BEFORE_ANYTHING: Final = re.compile(r"does not exist|disk-only|does not support|not supported")
"""What `snapshot-load` says when it has not touched the guest. Source: QEMU, load_snapshot()."""


@dataclass(frozen=True, slots=True)
class _Disk:
    """A disk whose content can change: a snapshot must hold it."""

    name: str
    node: str
    format: str
    kept: tuple[Mapping[str, object], ...]
    """Its snapshots, as QEMU tells them."""

    def has(self, tag: str) -> bool:
        return any(one.get("name") == tag for one in self.kept)

    def memory(self, tag: str) -> int:
        """Bytes of the guest's memory in that snapshot."""
        return sum(_int(one, "vm-state-size") for one in self.kept if one.get("name") == tag)


async def list_(asker: Asker) -> list[Snapshot]:
    """The snapshots in a running VM's disks, oldest first; raises as `Asker.ask`."""
    return snapshots((disk.name, disk.kept) for disk in await _disks(asker))


def snapshots(disks: Iterable[tuple[str, Iterable[Mapping[str, object]]]]) -> list[Snapshot]:
    """Snapshots from what QEMU or qemu-img tells of each disk, oldest first."""
    by_tag: dict[str, list[tuple[str, Mapping[str, object]]]] = {}
    names = []
    for name, kept in disks:
        names.append(name)
        for one in kept:
            by_tag.setdefault(str(one.get("name", "")), []).append((name, one))
    found = []
    for tag, on in by_tag.items():
        first = on[0][1]
        memory = sum(_int(one, "vm-state-size") for _, one in on)
        found.append(
            Snapshot(
                tag,
                datetime.fromtimestamp(_int(first, "date-sec"), UTC),
                memory,
                _int(first, "vm-clock-sec") + _int(first, "vm-clock-nsec") / 1e9,
                tuple(name for name, _ in on),
                complete=len({name for name, _ in on}) == len(names) and memory > 0,
            )
        )
    return sorted(found, key=lambda one: (one.saved_at, one.run_seconds, one.tag))


async def save(asker: Asker, tag: str, *, timeout: float) -> Snapshot:
    """Keep the present state; see `broker.guest.Guest.save_snapshot`."""
    check_tag(tag)
    disks = await _capable(asker)
    if any(disk.has(tag) for disk in disks):
        fix = f"Choose another, or: broker vm snapshot delete {asker.name} {tag}"
        raise UsageError(f"{asker.name} has a snapshot {tag} already", fix=fix)
    before = await asker.status()
    nodes = [disk.node for disk in disks]
    said = {"tag": tag, "vmstate": nodes[0], "devices": nodes}
    problem = await _run(asker, "snapshot-save", said, timeout)
    if problem:
        await _go_on(asker, before, "save-vm")
        full = "No space" in problem or "Input/output" in problem  # it says either
        raise BrokerError(
            f"{asker.name}: QEMU could not save {tag}: {problem}; the guest is as it was",
            fix="See whether the disk that its images are on is full" if full else "",
        )
    return next(one for one in await list_(asker) if one.tag == tag)


async def load(asker: Asker, tag: str, *, timeout: float) -> None:
    """Go back to a state; see `broker.guest.Guest.load_snapshot`."""
    disks = await _capable(asker)
    _check_it_can_be_loaded(asker.name, tag, disks)
    before = await asker.status()
    if before not in _CAN_GO_BACK:
        raise Refused(
            f"{asker.name} is {before}, and from there QEMU does not go back",
            reason="not-running",
            fix=f"Reset it first: broker vm reset {asker.name}",
        )
    vmstate = next(disk.node for disk in disks if disk.memory(tag))
    nodes = [disk.node for disk in disks]
    said = {"tag": tag, "vmstate": vmstate, "devices": nodes}
    problem = await _run(asker, "snapshot-load", said, timeout)
    if not problem:
        # One that was stuck there after an earlier failure is whole again.
        await _go_on(asker, "running", "restore-vm")
        return
    if _BEFORE_ANYTHING.search(problem):
        await _go_on(asker, before, "restore-vm")
        raise BrokerError(f"{asker.name}: QEMU cannot load {tag}: {problem}; the guest goes on")
    raise BrokerError(
        f"{asker.name}: QEMU failed half-way back to {tag}: {problem}. The guest is held: its"
        " memory and its disks are not of one time",
        fix=f"Load another snapshot, or start it anew: broker vm kill {asker.name}, then start",
    )


async def delete(asker: Asker, tag: str, *, timeout: float) -> None:
    """Forget a state; see `broker.guest.Guest.delete_snapshot`."""
    disks = [disk for disk in await _disks(asker) if disk.has(tag)]
    if not disks:  # of which QEMU says nothing
        raise no_such(asker.name, tag, await list_(asker))
    said = {"tag": tag, "devices": [disk.node for disk in disks]}
    if problem := await _run(asker, "snapshot-delete", said, timeout):
        raise BrokerError(f"{asker.name}: QEMU could not delete {tag}: {problem}")


def check_tag(tag: str) -> None:
    """See that a tag is good for a new snapshot.

    Raises:
        UsageError: It is empty, too long, has odd characters, or is a number, which QEMU would
            take for a snapshot's running number.
    """
    size = len(tag.encode())
    if tag.isdecimal() or not tag.isprintable() or tag != tag.strip() or not size:
        raise UsageError(f"{tag!r} cannot be a snapshot's name", fix="Use a word: before-update")
    if size > MAX_TAG_BYTES:
        raise UsageError(f"A snapshot's name has at most {MAX_TAG_BYTES} bytes, not {size}")


def no_such(name: str, tag: str, known: Iterable[Snapshot]) -> NotFound:
    """The error that there is no such snapshot."""
    tags = [one.tag for one in known]
    near = did_you_mean(tag, tags)
    return NotFound(
        f"{name} has no snapshot {tag}",
        fix=near or (f"It has: {', '.join(tags)}" if tags else "It has none"),
    )


def _check_it_can_be_loaded(name: str, tag: str, disks: list[_Disk]) -> None:
    """See what QEMU would only find out after it has stopped the guest."""
    lacking = [disk.name for disk in disks if not disk.has(tag)]
    if len(lacking) == len(disks):
        known = snapshots((disk.name, disk.kept) for disk in disks)
        raise no_such(name, tag, known)
    if lacking:
        raise UsageError(
            f"{name}: {', '.join(lacking)} is not in the snapshot {tag}, so it cannot be loaded",
            fix="That disk was added later; start the VM without it",
        )
    if not any(disk.memory(tag) for disk in disks):
        raise UsageError(
            f"{name}: the snapshot {tag} holds no memory, so a VM that runs cannot load it",
            fix="Stop the VM, and go back by: qemu-img snapshot -a",
        )


async def _disks(asker: Asker) -> list[_Disk]:
    """The disks that a snapshot must hold: all that can change but the UEFI variables."""
    found = []
    for block in await blocks(asker):
        inserted = block.get("inserted")
        if not isinstance(inserted, dict) or inserted.get("ro"):
            continue
        if str(block.get("qdev", "")).startswith("/machine/system.flash"):
            continue  # raw by nature; the variables stay as they are
        image = inserted.get("image", {})
        name = str(block.get("qdev") or block.get("device") or inserted.get("node-name"))
        kept = tuple(image.get("snapshots", ()))
        found.append(_Disk(name, str(inserted["node-name"]), str(inserted.get("drv")), kept))
    return found


async def _capable(asker: Asker) -> list[_Disk]:
    """The same, if each of them can keep a snapshot.

    Raises:
        UsageError: One cannot, or there is none.
    """
    disks = await _disks(asker)
    if not disks:
        raise UsageError(
            f"{asker.name} has no disk that can change, so nothing can keep a snapshot",
            fix="Give it a qcow2 disk",
        )
    for disk in disks:
        if disk.format != _FORMAT:
            raise UsageError(
                f"{asker.name}: {disk.name} is {disk.format}, which keeps no snapshots",
                fix="Stop the VM, and convert that image: qemu-img convert -O qcow2 OLD NEW",
            )
    return disks


async def _run(asker: Asker, command: str, said: Mapping[str, object], timeout: float) -> str:
    """Have a job done; what QEMU says went wrong, empty when nothing did.

    Raises:
        Refused: Another such job is under way.
        OutcomeUnknown: It was not done within `timeout` seconds; it goes on.
    """
    await _make_room(asker)
    job = f"{JOB}{secrets.token_hex(4)}"
    pause = FIRST_PAUSE
    try:
        async with within(timeout):
            with contextlib.suppress(VmUnresponsive):  # it may have begun: the list of jobs tells
                await asker.one(command, {"job-id": job, **said}, timeout=timeout)
            while (done := await _state(asker, job)) is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
    except TimeoutError as exc:
        raise OutcomeUnknown(
            f"{asker.name}: QEMU has not ended its {command} within {timeout:g} s; it goes on",
            fix=f"Look later: broker vm snapshot list {asker.name}",
        ) from exc
    await asker.one("job-dismiss", {"id": job})
    return str(done.get("error", ""))


async def _state(asker: Asker, job: str) -> Mapping[str, object] | None:
    """The job when it has ended; None while it runs or QEMU is too busy with it to say."""
    try:
        jobs = await _jobs(asker)
    except VmUnresponsive:
        return None
    found = [one for one in jobs if one.get("id") == job]
    if not found:
        return {"id": job, "error": "QEMU knows nothing of it"}
    return found[0] if found[0].get("status") == "concluded" else None


async def _make_room(asker: Asker) -> None:
    """Dismiss what a broker left that was killed; one job at a time."""
    for one in await _jobs(asker):
        if one.get("status") == "concluded" and str(one.get("id", "")).startswith(JOB):
            await asker.one("job-dismiss", {"id": one["id"]})
        elif str(one.get("type", "")).startswith("snapshot-"):
            raise Refused(
                f"{asker.name}: another snapshot is under way", reason="busy", fix="Ask again later"
            )


async def _jobs(asker: Asker) -> list[Mapping[str, object]]:
    answer = await asker.one("query-jobs")
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []


async def _go_on(asker: Asker, before: str, stuck: str) -> None:
    """Let a guest run that ran before, if QEMU has left it in a state of the job."""
    if before == "running" and await asker.status() == stuck:
        await asker.one("cont")


def _int(of: Mapping[str, object], key: str) -> int:
    value = of.get(key, 0)
    return value if isinstance(value, int) else 0
