"""A Linux guest for slow tests: Debian's kernel, a few modules, busybox, and an init of ours.

`.ci/linux-guest` (part of `make test-slow`) brings the parts; the initramfs is put together here.
Up in some ten seconds under TCG. It has a shell on COM1 and one on the screen, heeds the ACPI power
button, and its SPICE agent's port is `/dev/agent`.
"""

from __future__ import annotations

import contextlib
import re
import stat
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.model import Accel, MachineId, MachineSpec, Network
from tests.guests import Guest, Home, logged, serial_of

PARTS = Path(sys.prefix) / "linux-guest"
needs_linux = pytest.mark.skipif(
    not (PARTS / "complete").exists(), reason="no Linux guest here: .ci/linux-guest brings it"
)

READY = b"LINUX GUEST READY"
"""What it says on COM1 once its shells are there."""
POWER_BUTTON = b"POWER BUTTON HEARD"
"""What it says on COM1 before it powers off because its button was pressed."""
PROMPT = b"guest# "
"""The prompt of both shells."""
APPEND = "console=tty0 console=ttyS0 quiet panic=-1"

MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng"),
    *("evdev", "button", "virtio_scsi", "sr_mod", "isofs"),
)
"""Loaded in this order, what they depend on before them."""

INIT = f"""\
#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp /mnt
/bin/busybox --install -s /bin
export PATH=/bin PS1='{PROMPT.decode()}' HOME=/ TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod $module; done

for port in /sys/class/virtio-ports/vport*; do
  if grep -qs com.redhat.spice.0 $port/name; then ln -s /dev/${{port##*/}} /dev/agent; fi
done

heed() {{
  dd if=/dev/input/$1 of=/dev/null bs=24 count=1 2>/dev/null
  echo {POWER_BUTTON.decode()} >/dev/ttyS0
  poweroff -f
}}
for event in /sys/class/input/event*; do
  if grep -qs 'Power Button' $event/device/name; then heed ${{event##*/}} & fi
done

setsid sh -c 'while true; do sh </dev/tty1 >/dev/tty1 2>&1; done' &
echo {READY.decode()} >/dev/ttyS0
while true; do setsid sh -c 'exec cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1'; done
"""


def linux_spec(home: Home, name: str = "linux", **changes: Any) -> MachineSpec:
    """The guest's definition, its files written into `home`; `changes` are fields of it."""
    initrd = home.root / "initrd"
    if not initrd.exists():
        initrd.write_bytes(initramfs())
    spec = MachineSpec(
        name,
        MachineId(str(uuid.uuid4())),
        memory=192,
        accel=Accel.TCG,
        network=Network.NONE,
        usb_redirections=0,
        kernel=str(PARTS / "vmlinuz"),
        initrd=str(initrd),
        append=APPEND,
    )
    return replace(spec, **changes)


@contextlib.asynccontextmanager
async def running_linux(
    home: Home, spec: MachineSpec | None = None, *, qemu: str | None = None
) -> AsyncIterator[Guest]:
    """The guest, up and at its prompt on COM1; killed at the end."""
    instance = home.instance(spec or linux_spec(home))
    instance = replace(instance, qemu=qemu or instance.qemu)
    try:
        await instance.start()
        async with serial_of(instance.paths.serial) as serial:
            await logged(instance.paths.serial_log, READY, timeout=120)
            guest = Guest(instance, serial)
            await run(guest, "stty -echo")
            yield guest
    finally:
        await instance.kill()


async def run(guest: Guest, command: str, *, timeout: float = 60) -> str:
    """Type a command into the shell on COM1; what it printed."""
    mark = uuid.uuid4().hex
    # In two halves, so that the echo of the line is not taken for its end.
    await guest.serial.send(f"{command}; echo {mark[:16]}'{mark[16:]}'\n".encode())
    said = (await guest.serial.until(f"{mark}\r\n".encode(), timeout=timeout)).decode()
    return said.removesuffix(f"{mark}\r\n").removeprefix(PROMPT.decode()).replace("\r\n", "\n")


def initramfs() -> bytes:
    """The archive that the kernel starts from.

    Source: kernel documentation, "initramfs buffer format" (newc).
    """
    entries: list[tuple[str, int, bytes, tuple[int, int]]] = [
        ("bin", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("dev", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("modules", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("init", stat.S_IFREG | 0o755, INIT.encode(), (0, 0)),
        ("bin/busybox", stat.S_IFREG | 0o755, (PARTS / "busybox").read_bytes(), (0, 0)),
    ]
    for number, module in enumerate(_with_dependencies(MODULES)):
        name = f"modules/{number:02}-{module.name}"
        entries.append((name, stat.S_IFREG | 0o644, module.read_bytes(), (0, 0)))
    entries.append(("TRAILER!!!", 0, b"", (0, 0)))
    return b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1))


def _entry(number: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _with_dependencies(wanted: Iterable[str]) -> Iterator[Path]:
    files = {path.stem.replace("-", "_"): path for path in (PARTS / "modules").rglob("*.ko")}
    done: set[str] = set()

    def visit(name: str) -> Iterator[Path]:
        if name in done:
            return
        done.add(name)
        for needed in _depends(files[name]):
            yield from visit(needed)
        yield files[name]

    for name in wanted:
        yield from visit(name.replace("-", "_"))


def _depends(module: Path) -> list[str]:
    match = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    names = match[1].decode() if match else ""
    return [name.replace("-", "_") for name in names.split(",") if name]
