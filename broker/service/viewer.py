"""Starting a viewer on this host: which program, on which display, with which file.

The .vv file holds a token, so it is 0600 in a directory only we can read, and removed by the
viewer when it has read it, or by us when the viewer has ended. A viewer is a process of its own:
it outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Final

from broker import private_file
from broker.errors import Occupied, Refused, StoreError, ViewerMissing
from broker.model import Machine, Protocol, ProxyStatus, Session
from broker.service.port import Exported, Opened

KNOWN_VIEWERS: Final = ("remote-viewer",)
"""Programs that open a .vv file, in the order of preference."""

FILE_PLACE: Final = "{file}"
"""Where the file goes in a configured command; at its end when this is nowhere."""

STARTING_SECONDS: Final = 0.3
"""A viewer that ends within this time has failed; its words are in its log."""

LEFT_OVER_SECONDS: Final = 3600.0
"""Files of viewers that never read them are removed after this time."""

LOG_TAIL_BYTES: Final = 2000

_POLL_SECONDS = 0.2

_children: set[int] = set()
"""Viewers that we started and that outlived their start: whoever stays must reap them."""


def from_elsewhere(name: str, protocol: Protocol = Protocol.SPICE) -> str:
    """What to type on another machine to see this console there."""
    host = os.uname().nodename or "HOST"
    if protocol is Protocol.VNC:  # leads to this host's loopback only
        return f"From another machine: ssh -X {host} broker open {quote(name)}"
    return f"From another machine: ssh {host} broker export-vv {quote(name)} -o - | remote-viewer -"


def find_viewer(
    command: Sequence[str] | None,
    which: Callable[[str], str | None] = shutil.which,
) -> tuple[str, ...]:
    """The command that opens a .vv file, its program resolved.

    Args:
        command: The setting `viewer.command`; None takes the first viewer found.

    Raises:
        ViewerMissing: There is none.
    """
    if command:
        found = which(command[0])
        if found is None:
            raise ViewerMissing(
                f"viewer.command names {command[0]}, which is not installed",
                fix="Install it, or set viewer.command to another program",
            )
        return (found, *command[1:])
    for name in KNOWN_VIEWERS:
        if found := which(name):
            return (found,)
    raise ViewerMissing("No viewer is installed", fix="Install one: apt install virt-viewer")


def see_that_it_lets_in(proxy: ProxyStatus) -> None:
    """Say here that the proxy is being stopped, for the same reason.

    Raises:
        Refused: It lets nobody new in.
    """
    if proxy.draining:
        raise Refused(
            "The proxy is being stopped, and lets nobody new in",
            reason="draining",
            fix="Wait until it has ended or serves again: broker status",
        )


def see_that_it_is_free(machine: Machine, live: Iterable[Session]) -> None:
    """Say here who is there: a viewer would only say that it cannot connect.

    Raises:
        Occupied: Somebody is.
    """
    for session in live:
        if session.key == machine.key:
            raise Occupied(
                f"{machine.name} is in use by {session.label or session.client}",
                in_turn=False,
                fix=f"Take it over: broker open {quote(machine.full_name)} --take-over, "
                "or wait for its end with --wait-turn",
            )


def has_display(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether there is a screen for a viewer to appear on."""
    if platform == "darwin":
        return True
    return bool(environ.get("WAYLAND_DISPLAY") or environ.get("DISPLAY"))


class Viewers:
    """Starts viewers.

    Args:
        command: The setting `viewer.command`.
        runtime_dir: Ours alone; the files go into a directory below it.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        runtime_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        which: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._command = command
        self._dir = runtime_dir / "viewer"
        self._environ = environ
        self._which = which

    def check(self, name: str = "NAME", protocol: Protocol = Protocol.SPICE) -> None:
        """See that a viewer can be started, before a token is spent on it.

        Args:
            name: The console, for the words of the fix.
            protocol: What it speaks, for the same.

        Raises:
            ViewerMissing: No viewer, or no display to show one on.
        """
        elsewhere = from_elsewhere(name, protocol)
        try:
            find_viewer(self._command, self._which)
        except ViewerMissing as exc:
            raise ViewerMissing(exc.what, fix=f"{exc.fix}. {elsewhere}") from exc
        if not has_display(self._environ):
            raise ViewerMissing(
                "There is no display here: neither DISPLAY nor WAYLAND_DISPLAY is set",
                fix=elsewhere,
            )

    def start(self, exported: Exported, name: str, protocol: Protocol = Protocol.SPICE) -> Opened:
        """Start the viewer on a file; returns once it seems to run.

        Args:
            name: The console, for the words of a fix.
            protocol: What it speaks, for the same.

        Raises:
            ViewerMissing: No viewer or no display, or the viewer ended at once: its own words.
            StoreError: The runtime directory cannot be written.
        """
        reap()
        self.check(name, protocol)
        viewer = find_viewer(self._command, self._which)
        try:
            file = self._write(exported.text)
            with file.with_suffix(".log").open("wb") as log:
                file.with_suffix(".log").chmod(0o600)
                process = subprocess.Popen(  # noqa: S603 - the person's own setting, no shell
                    [*_with_file(viewer, str(file))],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=dict(self._environ),
                )
        except OSError as exc:
            raise StoreError(
                f"The viewer cannot be started ({exc})",
                fix=f"Look at {self._dir} and at {viewer[0]}",
            ) from exc
        try:
            code = process.wait(STARTING_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = 0  # it is meant to outlive us; Popen would warn otherwise
            _children.add(process.pid)
            return Opened(pid=process.pid, command=viewer, name=exported.name)
        if code == 0:  # it handed the file to a program that runs already
            return Opened(pid=process.pid, command=viewer, name=exported.name)
        words = _last_words(file.with_suffix(".log"))
        file.unlink(missing_ok=True)
        raise ViewerMissing(
            f"{viewer[0]} ended at once with code {code}" + (f': "{words}"' if words else ""),
            fix=from_elsewhere(name, protocol),
        )

    def _write(self, text: str) -> Path:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._dir / f"{secrets.token_hex(6)}.vv"
        private_file.write(file, text, replace=False)
        self._sweep(before=file.stat().st_mtime - LEFT_OVER_SECONDS)
        return file

    def _sweep(self, before: float) -> None:
        """Remove what viewers left over until then (seconds since the epoch)."""
        for file in self._dir.iterdir():
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < before:
                    file.unlink()


def reap() -> None:
    """Let go of viewers that have ended."""
    for pid in tuple(_children):
        if not _is_running(pid):
            _children.discard(pid)


def _with_file(command: Sequence[str], file: str) -> list[str]:
    if any(FILE_PLACE in word for word in command):
        return [word.replace(FILE_PLACE, file) for word in command]
    return [*command, file]


def _last_words(log: Path) -> str:
    """The last line that a viewer said."""
    try:
        said = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""


async def ended(pid: int, *, poll_seconds: float = _POLL_SECONDS) -> None:
    """Wait until a process has ended: a viewer, usually a child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # not Linux, or an old kernel
        while _is_running(pid):  # noqa: ASYNC110 - nothing else tells of it
            await asyncio.sleep(poll_seconds)
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _is_running(pid: int) -> bool:
    """Whether that process lives; a child of ours that has ended is reaped."""
    try:
        gone, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    return gone == 0
