"""A QEMU of this host in the contract's words: whose it is, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from broker.errors import Ambiguous, NotFound
from broker.model import FoundQemu, MachineId

if TYPE_CHECKING:
    from broker.vm.adoptions import Adoptions
    from broker.vm.scan import Qemu

_KEEPERS: Final = {
    "libvirt": "libvirt looks after it: virsh console, or a source of its own",
    "proxmox": "Proxmox looks after it",
    "other-broker": "a broker with other directories looks after it",
}


def describe(
    qemu: Qemu, adoptions: Adoptions | None, defined: Mapping[MachineId, str]
) -> FoundQemu:
    """All that can be said of it without asking it anything. Blocks a little.

    Args:
        adoptions: None where nothing was ever adopted.
        defined: Names of the VMs of this broker, by uuid.
    """
    from broker.vm.options import masked
    from broker.vm.ways import say_monitor, ways_of

    ways = ways_of(qemu)
    adoption = adoptions.of(qemu) if adoptions is not None else None
    owner = "adopted" if adoption is not None else qemu.owner.value
    ours = defined.get(MachineId(qemu.line.uuid), qemu.line.name) if owner == "broker" else ""
    return FoundQemu(
        pid=qemu.process.pid,
        started_at=qemu.process.started_at,
        user=_user(qemu.uid),
        program=qemu.program,
        name=qemu.line.name,
        uuid=qemu.line.uuid,
        owner=owner,
        machine=adoption.name if adoption is not None else ours,
        monitor=say_monitor(ways.monitor),
        held=ways.monitor is not None and qemu.is_held(ways.monitor),
        screen=ways.screen.words,
        target=ways.screen.target,
        ticket=ways.screen.ticket.value,
        why_not="it is a VM of this broker" if ours else _KEEPERS.get(owner, ""),
        command=tuple(masked(qemu.line.argv)),
    )


def the_one(reference: str, qemus: Sequence[Qemu]) -> Qemu:
    """The QEMU of that process id, name or uuid."""
    wanted = reference.strip()
    hits = [each for each in qemus if wanted == str(each.process.pid)] or [
        each
        for each in qemus
        if wanted and (wanted == each.line.name or wanted.lower() == each.line.uuid)
    ]
    if not hits:
        raise NotFound(
            f"No QEMU of yours has the process id or name {wanted!r}",
            fix="See which there are: broker vm scan",
        )
    if len(hits) > 1:
        pids = tuple(str(each.process.pid) for each in hits)
        raise Ambiguous(f"{len(hits)} QEMUs are called {wanted}", candidates=pids)
    return hits[0]


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
