"""What can be done with a VM that runs: one contract and its nouns, for drivers and faces alike.

`broker.service.port` hands it on, so that every face has the same verbs. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from broker.view import CALM_SECONDS, View

PACE_SECONDS = 0.02
"""How long a typed key is held, and how long it is released before the next; firmware keeps up."""
SNAPSHOT_SECONDS = 600.0
"""How long a snapshot may take; the guest's memory is written to its disk meanwhile."""


@dataclass(frozen=True, slots=True)
class Screenshot:
    """What the first screen showed.

    Attributes:
        png: The picture as a PNG file.
    """

    png: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive whose medium can be changed.

    Attributes:
        id: What QEMU calls the drive.
        kind: `cdrom`, `floppy` or `disk`.
        image: The file that is in it; empty when none is.
        locked: The guest holds its tray shut.
        tray_open: Its tray is out; a drive without a tray never says so.
    """

    id: str
    kind: str
    image: str = ""
    locked: bool = False
    tray_open: bool = False
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of a VM, memory and disks, kept in its qcow2 images.

    Attributes:
        memory_bytes: Size of the guest's memory in it; 0 for one of disks alone.
        run_seconds: For how long the guest had run by then.
        disks: Which disks have it, by QEMU's names.
        complete: All disks that can change have it, and its memory is there: it can be loaded.
    """

    tag: str
    saved_at: datetime
    memory_bytes: int
    run_seconds: float
    disks: tuple[str, ...]
    complete: bool


class SerialWriter(Protocol):
    """The one who may type on a serial line."""

    async def send(self, data: bytes) -> None:
        """Type; returns once QEMU's side has room for more.

        Raises:
            Unreachable: The VM has ended.
            Refused: Another program has taken the port meanwhile.
        """
        ...

    async def drained(self, timeout: float) -> bool:
        """Whether the guest's port took all that was sent, within that many seconds."""
        ...


class SerialLine(Protocol):
    """The guest's serial console: many may read, one may write.

    Positions count the bytes that the guest wrote since QEMU started.
    """

    def alive(self) -> bool:
        """Whether the VM's QEMU lives, so that more may come."""
        ...

    def end(self) -> int:
        """The position of what comes next."""
        ...

    def lines_back(self, count: int) -> int:
        """The position where the last `count` lines begin; not more than some 100 kB back."""
        ...

    def follow(self, begin: int) -> AsyncGenerator[bytes, None]:
        """All that the guest wrote from that position on, as it comes; ends with the VM's run.

        Close it when you leave before its end.
        """
        ...

    def writing(self) -> AbstractAsyncContextManager[SerialWriter]:
        """Be the writer.

        Raises:
            Refused: Somebody else is; who is said.
            Unreachable: The VM is off.
        """
        ...


class Guest(Protocol):
    """A VM to be used.

    Every verb raises Unreachable (`MonitorGone`) when it is off and VmUnresponsive when QEMU does
    not answer.
    """

    async def screenshot(self) -> Screenshot:
        """What is on its screen.

        Raises:
            NoConsole: It has no screen.
        """
        ...

    def view(self, *, calm: float = CALM_SECONDS) -> View:
        """Its screen while it changes, and its keys and pointer; nobody is disturbed by it.

        Args:
            calm: Look no more often than every so many seconds while nothing changes.
        """
        ...

    async def press(self, keys: Sequence[str], *, pace: float = PACE_SECONDS) -> None:
        """Press keys together, one combination such as `ctrl-alt-delete` after the other.

        Raises:
            UsageError: There is no such key; none was pressed.
            Refused: The guest does not run, so it would not hear them.
        """
        ...

    async def type(
        self, text: str, *, layout: str = "us", pace: float = PACE_SECONDS, secret: bool = False
    ) -> int:
        """Type a text on a guest whose keyboard is set to `layout`; how many keys that took.

        Args:
            secret: An error does not show what is in the text.

        Raises:
            UsageError: A character has no place on that keyboard; nothing was typed.
            Refused: The guest does not run.
        """
        ...

    async def drives(self) -> Sequence[Drive]:
        """The drives whose medium can be changed."""
        ...

    async def insert(self, image: str, *, drive: str = "", force: bool = False) -> Drive:
        """Put an image (an absolute path) into a drive, in place of what is in it.

        Args:
            drive: Its id; needed only where there are several.

        Raises:
            UsageError: No such file, or no such drive, or it must be said which.
            Refused: The guest holds the tray shut.
        """
        ...

    async def eject(self, *, drive: str = "", force: bool = False) -> Drive:
        """Take the medium out; raises as `insert`. With `force` even if the guest holds it."""
        ...

    async def snapshots(self) -> Sequence[Snapshot]:
        """The snapshots in the images of a VM that runs, oldest first."""
        ...

    async def save_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> Snapshot:
        """Keep its present state; it is held for as long as that takes, and runs on afterwards.

        Raises:
            UsageError: The tag is taken or odd, or a disk of it cannot keep snapshots.
            OutcomeUnknown: It took longer than `timeout` seconds; it may still end.
        """
        ...

    async def load_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Go back to a state; what happened since is lost. It runs on if it ran before.

        Raises:
            NotFound: No such snapshot; the guest has not noticed.
            UsageError: That one cannot be loaded; the guest has not noticed.
            BrokerError: QEMU failed half-way; what became of the guest is said.
            OutcomeUnknown: As for `save_snapshot`.
        """
        ...

    async def delete_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Forget a state; raises NotFound or OutcomeUnknown."""
        ...

    async def link(self, *, up: bool, card: str = "") -> Sequence[str]:
        """Plug the network cable in or pull it out; the cards that were meant.

        Args:
            card: Its id; empty means all.

        Raises:
            UsageError: It has no such network card.
        """
        ...

    async def hmp(self, line: str, *, timeout: float) -> str:
        """Say a line to QEMU's monitor for people; what it printed, errors included."""
        ...

    async def qmp(self, command: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        """Ask QEMU's monitor for programs; its answer.

        Raises:
            CommandRefused: QEMU's answer was an error.
        """
        ...

    def serial(self) -> SerialLine:
        """Its serial console.

        Raises:
            NoConsole: It has none.
        """
        ...
