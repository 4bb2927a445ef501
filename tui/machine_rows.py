"""What the cells and the detail of a local VM say. Pure, as `rows`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from broker import human
from broker.human import counted
from broker.model import Firmware, MachineKey, Network, Power, Restart, State
from broker.provisioning import DiskFacts, VmFacts
from broker.service.port import ConsoleInfo
from tui.glyphs import UNICODE, Glyphs
from tui.rows import Cell, Column, count_cell, minutes, state_cell

_OFF = frozenset({State.STOPPED, State.CRASHED, State.SHUTDOWN})


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM of this host: as it runs, and what it is.

    Attributes:
        facts: None until they were read.
    """

    info: ConsoleInfo
    facts: VmFacts | None = None

    @property
    def key(self) -> MachineKey:
        """Its machine."""
        return self.info.machine.key


def binary(size: int) -> str:
    """Bytes as options say them: `512M`, `40G`, `1.5G`."""
    for shift, letter in ((40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if size >= 1 << shift:
            whole = size % (1 << shift) == 0
            return f"{size >> shift}{letter}" if whole else f"{size / (1 << shift):.1f}{letter}"
    return f"{size}"


def machine_columns(now: Callable[[], datetime], glyphs: Glyphs = UNICODE) -> list[Column[Vm]]:
    """The columns of the local VMs."""
    none = Cell(glyphs.none, "dim")

    def spec_cell(tell: Callable[[VmFacts], Cell]) -> Callable[[Vm], Cell]:
        return lambda vm: none if vm.facts is None or vm.facts.spec is None else tell(vm.facts)

    def cpus(facts: VmFacts) -> Cell:
        return Cell(str(facts.spec.cpus)) if facts.spec is not None else none

    def memory(facts: VmFacts) -> Cell:
        return Cell(binary(facts.spec.memory << 20)) if facts.spec is not None else none

    def up(vm: Vm) -> Cell:
        started = vm.info.machine.started_at
        if started is None or vm.info.machine.pid is None:
            return Cell("")
        return Cell(minutes((now() - started).total_seconds()), "dim")

    return [
        Column(
            "NAME",
            16,
            lambda vm: Cell(human.one_line(vm.info.machine.name)),
            0,
            flex=True,
            hits=True,
            sort=lambda vm: vm.info.machine.name,
        ),
        Column(
            "STATE",
            17,
            lambda vm: state_cell(vm.info, glyphs),
            1,
            sort=lambda vm: vm.info.machine.state.value,
        ),
        Column("CPUS", 4, spec_cell(cpus), 3, right=True, sort=lambda vm: -_spec(vm, "cpus")),
        Column("MEMORY", 6, spec_cell(memory), 2, right=True, sort=lambda vm: -_spec(vm, "memory")),
        Column("DISKS", 8, spec_cell(_disks), 4, right=True, sort=_disk_size),
        Column(
            "USED",
            6,
            spec_cell(lambda f: Cell(binary(f.used), "dim") if f.disks else none),
            7,
            right=True,
            sort=lambda vm: -vm.facts.used if vm.facts else 0,
        ),
        Column("CPU BY", 6, spec_cell(_engine), 6),
        Column("UP", 6, up, 8, right=True, sort=_age),
        Column(
            "SNAP",
            4,
            spec_cell(lambda f: count_cell(f.snapshots, glyphs)),
            5,
            right=True,
            sort=lambda vm: -vm.facts.snapshots if vm.facts else 0,
        ),
        Column("STARTS", 18, lambda vm: starts_cell(vm, glyphs), 9, flex=True),
    ]


def _spec(vm: Vm, field: str) -> int:
    spec = vm.facts.spec if vm.facts is not None else None
    return int(getattr(spec, field)) if spec is not None else 0


def _disks(facts: VmFacts) -> Cell:
    if not facts.disks:
        return Cell("none", "dim")
    size = "?" if facts.size is None else binary(facts.size)
    return Cell(size if len(facts.disks) == 1 else f"{len(facts.disks)}: {size}")


def _disk_size(vm: Vm) -> int:
    return -(vm.facts.size or 0) if vm.facts is not None else 0


def _age(vm: Vm) -> float:
    started = vm.info.machine.started_at
    return -started.timestamp() if started is not None and vm.info.machine.pid else 1.0


def _engine(facts: VmFacts) -> Cell:
    """KVM or TCG as it runs; in dim letters what it would be."""
    if facts.engine:
        return Cell(facts.engine.split()[0].lower())
    return Cell(facts.spec.accel.value if facts.spec is not None else "", "dim")


def starts_cell(vm: Vm, glyphs: Glyphs = UNICODE) -> Cell:
    """When it starts without being asked, or what was asked and is not so."""
    facts, state = vm.facts, vm.info.machine.state
    if vm.info.machine.adopted:
        return Cell("never from here", "dim")
    if facts is None or facts.spec is None:
        return Cell("")
    if facts.built_on:
        return Cell(f"base of {counted(len(facts.built_on), 'clone')}", "dim")
    if facts.wanted is Power.ON and state in _OFF:
        return Cell(f"{glyphs.half} wanted on", "warn")
    words = ["at boot"] if facts.spec.autostart else []
    if facts.spec.restart is not Restart.NEVER:
        words.append("after a crash" if facts.spec.restart is Restart.ON_CRASH else "always again")
    return Cell(", ".join(words)) if words else Cell("when asked", "dim")


def explained(vm: Vm, glyphs: Glyphs = UNICODE) -> Text:
    """All there is to know of a VM, for under the list."""
    machine, facts = vm.info.machine, vm.facts
    text = Text()
    text.append(human.one_line(machine.name), "bold")
    if machine.pid is not None:
        text.append(f"  process {machine.pid}", "dim")
    text.append(f"  {machine.key.uuid}\n", "dim")
    if machine.reason:
        text.append(f"{glyphs.half} {human.one_line(machine.reason)}\n")
    if machine.adopted:
        text.append("Adopted: somebody else started it. What follows is of its command line.\n")
    if facts is None or facts.spec is None:
        text.append("Nothing is known of what it is made of.\n" if facts else "", "dim")
        return text
    spec = facts.spec
    for disk, look in zip(spec.disks, facts.disks, strict=True):
        kinds = [disk.format, disk.bus.value]
        kinds += ["changes are thrown away"] if disk.snapshot else []
        kinds += ["read only"] if disk.readonly else []
        text.append("disk  ", "dim").append(human.one_line(look.path or "to be made"))
        text.append(f"  {', '.join(kinds)}, {_look(look)}\n")
        if disk.backing:
            text.append("      ", "dim").append(f"built on {human.one_line(disk.backing)}\n")
    if spec.cdrom:
        text.append("cd    ", "dim").append(f"{human.one_line(spec.cdrom)}\n")
    firmware = "UEFI" if spec.firmware is Firmware.UEFI else "BIOS"
    firmware += ", secure boot" if spec.secure_boot else ""
    firmware += ", TPM" if spec.tpm else ""
    net = spec.network.value + (f" {spec.interface}" if spec.interface else "")
    net += f", card {spec.nic}" if spec.network is not Network.NONE else ""
    for ours, its in spec.forwards:
        net += f", {ours} to {its}"
    screen = f"{spec.display.value}{' by VNC' if spec.vnc else ''}"
    text.append("else  ", "dim")
    text.append(f"{spec.machine}, {firmware}; network {human.one_line(net)}; display {screen}\n")
    if facts.engine:
        text.append("cpu   ", "dim").append(f"{human.one_line(facts.engine)}\n")
    if facts.built_on:
        names = human.one_line(", ".join(facts.built_on))
        text.append(f"{glyphs.half} It is the base of {names}, so it is not started.\n")
    return text


def _look(disk: DiskFacts) -> str:
    if disk.used is None:
        size = f" of {binary(disk.size)}" if disk.size is not None else ""
        return f"made at the first start{size}" if disk.size is not None else "no such file"
    seen = binary(disk.size) if disk.size is not None else "size unknown"
    kept = f", {counted(disk.snapshots, 'snapshot')}" if disk.snapshots else ""
    return f"{seen}, {binary(disk.used)} used{kept}"
