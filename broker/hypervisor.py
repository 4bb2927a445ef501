"""What a driver of a hypervisor may offer besides `broker.driver.Driver`: small, all optional.

The house looks with `isinstance` which of them a driver has. None of them may raise anything but
`broker.errors.BrokerError`; how to choose one stands in docs/writing-a-driver.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from broker.dialing import DialPolicy
from broker.findings import Step
from broker.model import Ability, MachineId


@runtime_checkable
class Dialing(Protocol):
    """A driver that says where its consoles may be.

    Without it they may be anywhere but this host, its link, and where clouds tell secrets.
    """

    def dial_policy(self) -> DialPolicy | None:
        """As its options say; None where a person wrote every address down."""
        ...


@runtime_checkable
class Offering(Protocol):
    """A driver that says what can be done with its machines, so that faces offer only that."""

    def abilities(self) -> Mapping[Ability, str]:
        """What it can do, and for what it cannot, why: a sentence; empty means that it can.

        What is not in it, it cannot do. Read after each listing: rights that turn out to be
        missing may change it.
        """
        ...


@runtime_checkable
class Switching(Protocol):
    """A driver whose hypervisor switches machines; nobody here keeps what is wanted of them.

    It is an `Offering` as well, and best a `broker.driver.SingleLook`, so that what came of it
    is seen at once.
    """

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """Do that to a machine. Returns once the hypervisor has done, or taken on, what was asked.

        Asking for what already is, is not an error. SHUTDOWN only presses the button: whether the
        guest goes off is waited for by who asked.

        Args:
            ability: One of `model.POWER` that `abilities` has with an empty reason.

        Raises:
            NotFound: No such machine.
            RightMissing: Our credentials may not; which right is missing is said.
            UsageError: Not in its present state, or not this verb.
            VmStartFailed: It did not start, with the hypervisor's own words.
        """
        ...


@runtime_checkable
class Telling(Protocol):
    """A driver whose source tells what changes, so that it need not be asked all the time."""

    async def changes(self, changed: Callable[[MachineId | None], None]) -> None:
        """Say at once which machine may look different now, until cancelled.

        Args:
            changed: Called on the event loop; None means that any of them may.

        Raises:
            SourceUnreachable: The connection was lost. The house lists again and calls anew.
        """
        ...


@runtime_checkable
class Short(Protocol):
    """A driver that works, but not with everything: its source is degraded."""

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What does not work at present, one sentence each, such as a right that is missing."""
        ...


@runtime_checkable
class Checkable(Protocol):
    """A driver that can look into its source, step by step, for `broker sources check`."""

    async def check(self) -> Sequence[Step]:
        """Log in, list, and say which rights are missing; nothing is changed there.

        Ends after the first step that fails. Raises nothing for what is wrong with the source.
        """
        ...


@runtime_checkable
class ChannelGiver(Protocol):
    """A driver whose hypervisor takes a connection as a descriptor (`model.GivenTarget`)."""

    async def give_channel(self, machine_id: MachineId, end: socket.socket) -> None:
        """Hand one end of a connection to the SPICE server of a machine; skips its ticket.

        Args:
            end: The caller closes its own copy afterwards, whatever comes of this.

        Raises:
            SourceUnreachable: The hypervisor does not answer.
            NoConsole: The machine is off, or has no SPICE.
        """
        ...


@runtime_checkable
class TokenReader(Protocol):
    """A driver whose hypervisor gives its users tokens that stand for a console."""

    async def machine_of_token(self, token: str) -> MachineId:
        """The machine that such a token was made for.

        Raises:
            NotFound: It has ended, or is not from there.
            RightMissing: We may not read tokens there.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """A driver class whose options can be told without making one (`broker sources schema`)."""

    @classmethod
    def options_schema(cls) -> Mapping[str, object]:
        """JSON Schema of its entry in sources.yaml, without `source` and `type`."""
        ...


@runtime_checkable
class Vetting(Protocol):
    """A driver class that says what is wrong with options while a person types them."""

    @classmethod
    def option_problems(cls, options: Mapping[str, object]) -> Mapping[str, str]:
        """What each wrong option should be, by key (`consoles.0.name`); `""` is the whole entry.

        Nothing is read or connected, and no value is in what it says.
        """
        ...
