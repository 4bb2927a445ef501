"""A VM's monitor, to be asked one thing at a time: what all verbs of a running VM stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.errors import Refused
from broker.vm import monitor
from broker.vm.monitor import Command, MonitorGone

ANSWER_SECONDS: Final = 10.0
"""A guest that is busy under TCG, on a host that is too, takes seconds over a picture."""
_HEARS: Final = frozenset({"running", "suspended"})
"""In these states QEMU passes keys on; in all others it drops them."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The monitor at `path` of the VM called `name`."""

    name: str
    path: Path

    async def ask(self, *commands: Command, timeout: float = ANSWER_SECONDS) -> list[object]:
        """Say some commands in one breath, when it is our turn; their answers.

        Raises:
            MonitorGone: The VM is off, or ended just now.
            VmUnresponsive: QEMU does not answer within `timeout` seconds.
            CommandRefused: QEMU answered one of them with an error.
        """
        try:
            return await monitor.ask(self.path, *commands, name=self.name, timeout=timeout)
        except MonitorGone as exc:
            if isinstance(exc.__cause__, FileNotFoundError | ConnectionRefusedError):
                fix = f"Start it: broker vm start {self.name}"
                raise MonitorGone(f"{self.name} is off", fix=fix) from exc
            raise

    async def one(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> object:
        """One command; its answer. Raises as `ask`."""
        (answer,) = await self.ask(Command(command, arguments or {}), timeout=timeout)
        return answer

    async def status(self) -> str:
        """QEMU's run state, in its own word."""
        answer = await self.one("query-status")
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    async def check_it_hears(self) -> None:
        """See that the guest would get what is typed.

        Raises:
            Refused: It is held, or off; keys would be lost.
        """
        if (status := await self.status()) not in _HEARS:
            raise Refused(
                f"{self.name} would not hear a key: QEMU says it is {status}",
                reason="not-running",
                fix=f"Let it go on first: broker vm resume {self.name}",
            )
