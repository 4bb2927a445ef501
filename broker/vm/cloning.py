"""Making a VM of another one: its definition with a new identity, and disks of its own.

All of it is made in a directory that no listing shows, and that gets the new VM's name in one
step when everything is there. Whatever fails before leaves nothing; what a broker left that was
killed is swept up by the next clone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import uuid as uuids
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from broker.errors import UsageError
from broker.model import EMPTY_DRIVE, CloudInit, Disk, MachineId, MachineSpec
from broker.typed_path import is_missing
from broker.vm import lock, schema
from broker.vm.copying import copy_image, overlay
from broker.vm.definitions import FILE_NAME, Definitions, taken, write_private
from broker.vm.images import check_images
from broker.vm.look import find
from broker.vm.paths import VmPaths, cannot_use, make_private

LOCK_SECONDS: Final = 10.0
SCRATCH: Final = ".clone-"
_HELD: Final = ".held"
Tell = Callable[[str], None]


async def clone(
    definitions: Definitions,
    spec: MachineSpec,
    paths: VmPaths,
    name: str,
    *,
    linked: bool = False,
    tell: Tell | None = None,
) -> MachineSpec:
    """Make a VM called `name` of one that is off; see `broker.provisioning.Cloning`."""
    new = replace(spec, name=name, uuid=MachineId(str(uuids.uuid4())), mac=None, autostart=False)
    schema.check(new)
    if any(each.name == name for each in definitions.all()):
        raise taken(name)
    check_images(spec)
    make_private(paths.run.parent)
    make_private(paths.run)  # for the lock; it may never have run
    async with lock.action(paths.lock, spec.name, timeout=LOCK_SECONDS):
        if find(paths) is not None:
            raise UsageError(
                f"{spec.name} is running, and its disks change",
                fix=f"Stop it first: broker vm stop {spec.name}",
            )
        home = paths.data.with_name(name)
        async with _scratch(home.parent) as scratch:
            disks = await asyncio.to_thread(_plan, spec, paths.data, home, linked=linked)
            await _make_disks(spec, disks, scratch, tell or (lambda _: None))
            new = replace(new, disks=tuple(disks))
            new = await asyncio.to_thread(_with_files, new, paths.data, scratch, home)
            await asyncio.to_thread(_copy_state, paths, scratch)
            write_private(scratch / FILE_NAME, schema.render(new))
            _settle(scratch, home)
    return new


@contextlib.asynccontextmanager
async def _scratch(root: Path) -> AsyncIterator[Path]:
    """A private directory that is gone afterwards, unless it was given its name."""
    make_private(root)
    _sweep(root)
    place = root / f"{SCRATCH}{secrets.token_hex(4)}"
    make_private(place)
    held = os.open(place / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield place
    finally:
        os.close(held)
        shutil.rmtree(place, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what brokers left that were killed: nobody holds it any more."""
    for place in root.glob(f"{SCRATCH}*"):
        try:
            held = os.open(place / _HELD, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # made this moment, or gone
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(held)


def _settle(scratch: Path, home: Path) -> None:
    """Give the directory its name, in one step; one that is there and empty gives way."""
    try:
        (scratch / _HELD).unlink()
        scratch.rename(home)
    except OSError as exc:
        if home.exists():
            raise UsageError(
                f"{home} is there already, with files of another VM",
                fix="Choose another name, or move that directory away",
            ) from exc
        raise cannot_use(home, exc) from exc


def _plan(spec: MachineSpec, old: Path, home: Path, *, linked: bool) -> list[Disk]:
    """The new VM's disks; those with another path are to be made, unless the old has no file."""
    return [_planned(disk, number, old, home, linked) for number, disk in enumerate(spec.disks)]


def _planned(disk: Disk, number: int, old: Path, home: Path, linked: bool) -> Disk:
    path = Path(disk.path)
    own = home / f"disk{number}"
    if is_missing(path):  # to be made at the first start, of each VM its own
        return replace(disk, path=f"{own}{path.suffix}")
    if (disk.readonly or disk.snapshot) and not path.is_relative_to(old):
        return disk  # never written to, so one is enough
    if linked:
        return replace(
            disk,
            path=f"{own}.qcow2",
            format="qcow2",
            size=None,
            backing=disk.path,
            backing_format=disk.format,
        )
    raw = disk.format == "raw"
    return replace(
        disk,
        path=f"{own}.{'img' if raw else 'qcow2'}",
        format="raw" if raw else "qcow2",
        size=None,
        backing=None,
        backing_format=None,
    )


async def _make_disks(spec: MachineSpec, planned: list[Disk], scratch: Path, tell: Tell) -> None:
    for number, (old, new) in enumerate(zip(spec.disks, planned, strict=True), 1):
        source, file = Path(old.path), scratch / Path(new.path).name
        if old.path == new.path or not await asyncio.to_thread(source.exists):
            continue
        if new.backing == old.path:
            await overlay(source, old.format, file)
            continue
        which = f"copying disk {number} of {len(planned)}"
        tell(which)
        await copy_image(source, old.format, file, new.format, partial(_percents, tell, which))


def _percents(tell: Tell, which: str, percent: int) -> None:
    tell(f"{which}: {percent} %")


def _with_files(spec: MachineSpec, old: Path, scratch: Path, home: Path) -> MachineSpec:
    """Its other files: a floppy and what lies in the VM's own directory are copied.

    The rest are only read, and stay where they are.
    """

    def own(path: str | None, *, written: bool = False) -> str | None:
        if path is None or path == EMPTY_DRIVE:
            return path
        if not (written or Path(path).is_relative_to(old)):
            return path
        file = Path(path).name
        try:
            shutil.copyfile(path, scratch / file)
            (scratch / file).chmod(0o600)
        except OSError as exc:
            raise cannot_use(scratch / file, exc) from exc
        return str(home / file)

    seed = spec.cloud_init
    if seed is not None:
        seed = CloudInit(
            seed.user_data, own(seed.user_data_file), seed.meta_data, seed.network_config
        )
    return replace(
        spec,
        cdrom=own(spec.cdrom),
        floppy=own(spec.floppy, written=True),
        kernel=own(spec.kernel),
        initrd=own(spec.initrd),
        cloud_init=seed,
    )


def _copy_state(paths: VmPaths, scratch: Path) -> None:
    """What the firmware and the TPM remember: without it a system may not boot any more."""
    try:
        for file in (paths.uefi_vars, paths.secure_uefi_vars):
            if file.exists():
                shutil.copyfile(file, scratch / file.name)
                (scratch / file.name).chmod(0o600)
        if paths.tpm_state.is_dir():
            own = scratch / paths.tpm_state.name
            make_private(own)
            for file in paths.tpm_state.iterdir():
                if file.is_file():
                    shutil.copyfile(file, own / file.name)
                    (own / file.name).chmod(0o600)
    except OSError as exc:
        raise cannot_use(Path(exc.filename or scratch), exc) from exc
