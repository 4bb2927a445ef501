"""A VM of this host that runs, to be used: all verbs of `broker.guest.Guest` in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from broker.errors import NoConsole
from broker.guest import PACE_SECONDS, SNAPSHOT_SECONDS, Drive, Screenshot, Snapshot
from broker.view import CALM_SECONDS
from broker.vm import keyboard, lock, media, process, screen, snapshots
from broker.vm.asking import Asker
from broker.vm.monitor import Command
from broker.vm.paths import VmPaths
from broker.vm.serial import LoggedSerial
from broker.vm.view import MonitorView

LOCK_SECONDS = 60.0
"""How long to wait for another broker that acts on the VM, before a snapshot."""


@dataclass(frozen=True, slots=True)
class SerialPlace:
    """Where a VM's serial port is.

    Attributes:
        log: What the guest wrote in this run.
        lock: Of the one who may type; made when needed.
    """

    socket: Path
    log: Path
    lock: Path


@dataclass(frozen=True, slots=True)
class RunningVm:
    """A VM by its monitor; see `broker.guest.Guest`. Making one touches nothing.

    Attributes:
        scratch: A directory that only we can enter, and QEMU can write to.
        alive: Whether its QEMU lives.
        action: Keeps other brokers from starting or stopping it in the meantime.
        port: None when it has no serial port.
    """

    asker: Asker
    scratch: Path
    alive: Callable[[], bool]
    action: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
    port: SerialPlace | None = None

    @classmethod
    def of(cls, name: str, paths: VmPaths, *, serial: bool) -> RunningVm:
        """A VM that this broker started."""
        return cls(
            Asker(name, paths.qmp),
            paths.run,
            alive=lambda: process.find(paths.pid) is not None,
            action=lambda: lock.action(paths.lock, name, timeout=LOCK_SECONDS),
            port=SerialPlace(paths.serial, paths.serial_log, paths.serial_lock) if serial else None,
        )

    async def screenshot(self) -> Screenshot:
        """What is on its screen."""
        return await screen.screenshot(self.asker, self.scratch)

    def view(self, *, calm: float = CALM_SECONDS) -> MonitorView:
        """Its screen while it changes."""
        return MonitorView(self.asker, self.scratch, calm=calm)

    async def press(self, keys: Sequence[str], *, pace: float = PACE_SECONDS) -> None:
        """Press combinations of keys."""
        chords = [keyboard.chord(text) for text in keys]
        await keyboard.press(self.asker, chords, pace=pace)

    async def type(
        self, text: str, *, layout: str = "us", pace: float = PACE_SECONDS, secret: bool = False
    ) -> int:
        """Type a text."""
        chords = keyboard.chords(text, layout, secret=secret)
        return await keyboard.press(self.asker, chords, pace=pace)

    async def drives(self) -> Sequence[Drive]:
        """The drives whose medium can be changed."""
        return await media.drives(self.asker)

    async def insert(self, image: str, *, drive: str = "", force: bool = False) -> Drive:
        """Put an image into a drive."""
        return await media.insert(self.asker, image, drive=drive, force=force)

    async def eject(self, *, drive: str = "", force: bool = False) -> Drive:
        """Take the medium out."""
        return await media.eject(self.asker, drive=drive, force=force)

    async def snapshots(self) -> Sequence[Snapshot]:
        """The snapshots in its images."""
        return await snapshots.list_(self.asker)

    async def save_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> Snapshot:
        """Keep its present state."""
        snapshots.check_tag(tag)
        async with self._acting():
            return await snapshots.save(self.asker, tag, timeout=timeout)

    async def load_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Go back to a state."""
        async with self._acting():
            await snapshots.load(self.asker, tag, timeout=timeout)

    async def delete_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Forget a state."""
        async with self._acting():
            await snapshots.delete(self.asker, tag, timeout=timeout)

    async def link(self, *, up: bool, card: str = "") -> Sequence[str]:
        """Plug the network cable in, or pull it out."""
        return await media.link(self.asker, up=up, card=card)

    async def hmp(self, line: str, *, timeout: float) -> str:
        """Say a line to the monitor for people."""
        answer = await self.asker.one(
            "human-monitor-command", {"command-line": line}, timeout=timeout
        )
        return str(answer).replace("\r\n", "\n")

    async def qmp(self, command: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        """Ask the monitor for programs."""
        (answer,) = await self.asker.ask(Command(command, arguments), timeout=timeout)
        return answer

    def serial(self) -> LoggedSerial:
        """Its serial console."""
        if self.port is None:
            raise NoConsole(
                f"{self.asker.name} has no serial port that is kept",
                fix="Define it with one: leave --no-serial out",
            )
        place = self.port
        return LoggedSerial(self.asker, place.socket, place.log, place.lock, self.alive)

    def _acting(self) -> AbstractAsyncContextManager[None]:
        """A VM that is off has no directory to lock in, and says so by itself."""
        return self.action() if self.alive() else contextlib.nullcontext()
