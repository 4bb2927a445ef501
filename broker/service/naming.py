"""What to call a machine in a command that somebody is advised to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.errors import NotFound

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.info import ConsoleInfo


class Finder(Protocol):
    """What knows names, such as the service."""

    async def find(self, reference: str) -> ConsoleInfo:
        """The console called so; NotFound, of which Ambiguous is one."""
        ...


async def unmistakable(finder: Finder, machine: Machine) -> str:
    """The shortest of its names that means this machine and no other; not quoted for a shell."""
    for name in (machine.name, machine.full_name):
        try:
            found = await finder.find(name)
        except NotFound:
            continue
        if found.machine.key == machine.key:
            return name
    return f"{machine.key.source}/{machine.key.uuid}"
