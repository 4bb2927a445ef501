"""Doing a verb to a console: the dialog it needs, the question to the service, the answer's toast.

A verb is given a machine's *key* when it is asked for and acts on that key, whatever the list
looks like when the answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from broker import human
from broker.errors import Occupied, ViewerMissing
from broker.model import LinkPolicy, MachineKey, WhenOccupied
from broker.service.port import VIEWER_LABEL, ConsoleInfo, Exported, ExportRequest, Opened, Service
from broker.view import Way
from tui import keys, vvfile
from tui.allowed import why_not
from tui.host import Host
from tui.looks import Looks
from tui.power import ACTS, Power
from tui.rows import moment
from tui.undo import Undo

if TYPE_CHECKING:
    from broker.provisioning import VmDraft
    from tui.screens.export import Answer

TAKE_OVER = ExportRequest(label=VIEWER_LABEL, policy=LinkPolicy(occupied=WhenOccupied.TAKE_OVER))


class Verbs:
    """Verbs of keys.py by name."""

    def __init__(self, app: App[Any], host: Host, undo: Undo) -> None:
        self._app = app
        self._host = host
        self.power = Power(app, host, undo)
        self._looks = Looks(app, host)

    def do(self, verb: str, info: ConsoleInfo) -> None:
        """Do it, or say why not."""
        if verb in ACTS:
            self.power.do(verb, [info])
            return
        reason = why_not(verb, info)
        if reason:
            self._app.notify(human.one_line(reason), severity="warning", markup=False)
            return
        act: Callable[[ConsoleInfo], None] = getattr(self, f"_{verb}")
        act(info)

    def _say(self, title: str, text: str) -> None:
        self._app.notify(text, title=title, markup=False)

    def _open(self, info: ConsoleInfo, request: ExportRequest | None = None) -> None:
        name = human.one_line(info.machine.name)

        asked_from = self._app.screen

        def opened(viewer: Opened | ViewerMissing | Occupied) -> None:
            if isinstance(viewer, Occupied):
                if self._app.screen is asked_from:
                    self._looks.ask(info, answered)
                else:
                    self._say(viewer.what, f"{keys.OPEN.sign} on it takes it over")
            elif not isinstance(viewer, ViewerMissing):
                self._say(f"{name} is open", f"{viewer.command[0]} runs as process {viewer.pid}")
            elif self._app.screen is asked_from:  # a person who went on is not called back
                self._say("Shown here", viewer.what)
                self._live(info)
            else:
                here = f"{keys.LIVE.sign} shows it here"
                self._say(viewer.what, f"{here}. {viewer.fix}")

        def answered(way: Way) -> None:
            if way is Way.WATCH:
                self._looks.watch(info)
            else:
                self._open(info, TAKE_OVER)

        async def open_(service: Service) -> Opened | ViewerMissing | Occupied:
            try:
                return await service.open_viewer(info.machine.key, request or self._request())
            except Occupied as problem:
                if self._host.readonly:
                    raise
                return problem
            except ViewerMissing as problem:
                if why_not("live", info):
                    raise
                return problem

        self._host.ask(f"Opening {name}", open_, opened, of=("open", info.machine.key))

    def _request(self) -> ExportRequest | None:
        """Nothing special, unless all one may do is look."""
        if not self._host.readonly:
            return None
        return ExportRequest(label=VIEWER_LABEL, policy=LinkPolicy(view_only=True))

    def _live(self, info: ConsoleInfo) -> None:
        self._looks.live(info)

    def _serial(self, info: ConsoleInfo) -> None:
        self._looks.serial(info)

    def _serial_below(self, info: ConsoleInfo) -> None:
        self._looks.serial_below(info)

    def _export(self, info: ConsoleInfo) -> None:
        from tui.screens.export import ExportScreen

        name = human.one_line(info.machine.name)

        async def write(answer: Answer, service: Service) -> Exported:
            policy = LinkPolicy(view_only=self._host.readonly)
            request = ExportRequest(elsewhere=answer.elsewhere, policy=policy)
            exported = await service.export_vv(info.machine.key, request)
            await asyncio.to_thread(
                vvfile.write, answer.path, exported.text, replace=answer.replace
            )
            return exported

        def written(answer: Answer, exported: Exported) -> None:
            near = answer.path.parent == _here()
            lines = [f"Open it with: remote-viewer {answer.path.name if near else answer.path}"]
            if exported.expires_at is not None:
                lines.append(f"Good until {moment(exported.expires_at)}")
            self._say(f"Wrote {answer.path}", "\n".join((*lines, *exported.notes)))

        def answered(answer: Answer | None) -> None:
            if answer is not None:
                self._host.ask(
                    f"Exporting {name}",
                    partial(write, answer),
                    partial(written, answer),
                    of=("export", info.machine.key, answer.path),
                )

        self._app.push_screen(ExportScreen(info.machine.name), answered)

    def _log(self, info: ConsoleInfo) -> None:
        from tui.screens.machine_log import MachineLogScreen

        machine = info.machine
        self._app.push_screen(MachineLogScreen(self._host, machine.key, machine.name))

    def _doctor(self, info: ConsoleInfo) -> None:
        from tui.screens.doctor import DoctorScreen

        machine = info.machine
        self._app.push_screen(DoctorScreen(self._host, machine.key, machine.name))

    def new_vm(self) -> None:
        """The form for a new VM; it is shown once it is there."""
        from tui.wizard.screen import WizardScreen

        self._app.push_screen(WizardScreen(self._host), self._made)

    def _made(self, key: MachineKey | None) -> None:
        if key is not None:
            self._show(key)

    def _show(self, key: MachineKey) -> None:
        """Where the person is: in the machines, else in the consoles."""
        from tui.screens.machines import MachinesScreen

        if isinstance(self._app.screen, MachinesScreen):
            self._app.screen.select(key)
        else:
            self._host.show_console(key)

    def _edit(self, info: ConsoleInfo) -> None:
        from tui.wizard.screen import WizardScreen

        machine = info.machine

        def edit(draft: VmDraft) -> None:
            self._app.push_screen(WizardScreen(self._host, (machine, draft)))

        name = human.one_line(machine.name)
        self._host.ask(
            f"Reading what {name} is",
            lambda s: s.draft("", known=machine.key),
            edit,
            looks=True,
            of=("edit", machine.key),
        )

    def _clone(self, info: ConsoleInfo) -> None:
        from tui.screens.clone import CloneScreen

        taken = {row.machine.name for row in self._host.snapshot.consoles or () if row.startable}
        self._app.push_screen(CloneScreen(self._host, info.machine, taken), self._made)

    def _snapshots(self, info: ConsoleInfo) -> None:
        from tui.screens.snapshots import SnapshotsScreen

        self._app.push_screen(SnapshotsScreen(self._host, info))

    def _power(self, info: ConsoleInfo) -> None:
        self.menu([info])

    def menu(self, infos: Sequence[ConsoleInfo]) -> None:
        """The power menu for these machines; they are held by key while it is open."""
        from tui.screens.power import PowerScreen

        held = [info.machine.key for info in infos]

        def chosen(verb: str | None) -> None:
            if verb is not None:
                self._host.do_all(verb, held)

        self._app.push_screen(PowerScreen(infos, self._host.glyphs), chosen)


def _here() -> Path | None:
    """Where broker was started; None when that is gone."""
    try:
        return Path.cwd()
    except OSError:
        return None
