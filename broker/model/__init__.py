"""The nouns: what the rooms hand to each other. Frozen, checked by the type checker, no I/O.

Words are those of ARCHITECTURE.md: a *source* yields *machines*; a *console* is where a machine's
screen can be reached now; a *ticket* is the hypervisor's password (ours to use, never to show); a
*token* is what a viewer gets as its password; a *session* is one person at one machine.

Every room wants several, and imports them from here. Those of local VMs, and those of tokens and
sessions, come on demand: making their classes takes milliseconds, and the quick commands and the
first rows of the interface never ask for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from broker.model.machines import (
    Console,
    GivenTarget,
    HandOverTarget,
    Machine,
    MachineId,
    MachineKey,
    Power,
    Protocol,
    SourceName,
    State,
    Target,
    TcpTarget,
    UnixTarget,
)
from broker.model.sources import (
    LOCAL_TYPE,
    POWER,
    Ability,
    Health,
    SourceStatus,
)

if TYPE_CHECKING:
    from broker.model.local import (
        EMPTY_DRIVE,
        Accel,
        CarriedOver,
        CloudInit,
        Disk,
        DiskBus,
        Display,
        Firmware,
        FoundQemu,
        MachineSpec,
        Network,
        Nic,
        Restart,
        SpicePort,
    )
    from broker.model.sessions import (
        ChannelInfo,
        LinkPolicy,
        ProxyStatus,
        Session,
        SessionId,
        Token,
        WhenOccupied,
    )

__all__ = [
    "EMPTY_DRIVE",
    "LOCAL_TYPE",
    "POWER",
    "Ability",
    "Accel",
    "CarriedOver",
    "ChannelInfo",
    "CloudInit",
    "Console",
    "Disk",
    "DiskBus",
    "Display",
    "Firmware",
    "FoundQemu",
    "GivenTarget",
    "HandOverTarget",
    "Health",
    "LinkPolicy",
    "Machine",
    "MachineId",
    "MachineKey",
    "MachineSpec",
    "Network",
    "Nic",
    "Power",
    "Protocol",
    "ProxyStatus",
    "Restart",
    "Session",
    "SessionId",
    "SourceName",
    "SourceStatus",
    "SpicePort",
    "State",
    "Target",
    "TcpTarget",
    "Token",
    "UnixTarget",
    "WhenOccupied",
]

_OF_SESSIONS = frozenset(
    {
        "ChannelInfo",
        "LinkPolicy",
        "ProxyStatus",
        "Session",
        "SessionId",
        "Token",
        "WhenOccupied",
    }
)

if not TYPE_CHECKING:  # the type checker is to find a misspelt noun

    def __getattr__(name: str) -> object:
        """A noun of `local` or `sessions`, at its first use (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "sessions" if name in _OF_SESSIONS else "local"
        return getattr(import_module(f"broker.model.{module}"), name)
