"""Doing a verb to a console: the dialog it needs, the question to the service, the answer's toast.

A verb is given a machine's *key* when it is asked for and acts on that key, whatever the list
looks like when the answer comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from textual.app import App

from broker import human
from broker.service.port import ConsoleInfo, Exported, ExportRequest, Opened, Service
from tui import vvfile
from tui.allowed import why_not
from tui.host import Host
from tui.rows import moment, state_word
from tui.screens.confirm import ConfirmScreen, Question
from tui.screens.export import Answer, ExportScreen
from tui.screens.machine_log import MachineLogScreen
from tui.screens.power import PowerScreen


class Verbs:
    """Verbs of keys.py by name."""

    def __init__(self, app: App[Any], host: Host) -> None:
        self._app = app
        self._host = host

    def do(self, verb: str, info: ConsoleInfo) -> None:
        """Do it, or say why not."""
        reason = why_not(verb, info)
        if reason:
            self._app.notify(human.one_line(reason), severity="warning", markup=False)
            return
        act: Callable[[ConsoleInfo], None] = getattr(self, f"_{verb}")
        act(info)

    def _say(self, title: str, text: str) -> None:
        self._app.notify(text, title=title, markup=False)

    def _open(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)

        def opened(viewer: Opened) -> None:
            self._say(f"{name} is open", f"{viewer.command[0]} runs as process {viewer.pid}")

        self._host.ask(
            f"Opening {name}", lambda service: service.open_viewer(info.machine.key), opened
        )

    def _export(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)

        async def write(answer: Answer, service: Service) -> Exported:
            request = ExportRequest(elsewhere=answer.elsewhere)
            exported = await service.export_vv(info.machine.key, request)
            await asyncio.to_thread(
                vvfile.write, answer.path, exported.text, replace=answer.replace
            )
            return exported

        def written(answer: Answer, exported: Exported) -> None:
            near = answer.path.parent == Path.cwd()
            lines = [f"Open it with: remote-viewer {answer.path.name if near else answer.path}"]
            if exported.expires_at is not None:
                lines.append(f"Good until {moment(exported.expires_at)}")
            self._say(f"Wrote {answer.path}", "\n".join((*lines, *exported.notes)))

        def answered(answer: Answer | None) -> None:
            if answer is not None:
                self._host.ask(
                    f"Exporting {name}", partial(write, answer), partial(written, answer)
                )

        self._app.push_screen(ExportScreen(info.machine.name), answered)

    def _start(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)
        self._host.ask(
            f"Starting {name}",
            lambda service: service.start(info.machine.key),
            lambda machine: self._say(name, f"is {state_word(machine.state)}"),
        )

    def _stop(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)
        self._host.ask(
            f"Shutting down {name}",
            lambda service: service.stop(info.machine.key),
            lambda machine: self._say(name, f"is {state_word(machine.state)}"),
        )

    def _pause(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)
        self._host.ask(
            f"Pausing {name}",
            lambda service: service.pause(info.machine.key),
            lambda machine: self._say(name, f"is {state_word(machine.state)}"),
        )

    def _resume(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)
        self._host.ask(
            f"Resuming {name}",
            lambda service: service.resume(info.machine.key),
            lambda machine: self._say(name, f"is {state_word(machine.state)}"),
        )

    def _reset(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)

        def reset() -> None:
            self._host.ask(
                f"Resetting {name}",
                lambda service: service.reset(info.machine.key),
                lambda _: self._say(name, "was reset"),
            )

        consequence = "It boots anew at once. What the guest has not saved is lost."
        self._ask(Question(f"Reset {name}?", (_who(info),), consequence, "Reset"), reset)

    def _kill(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)

        def kill() -> None:
            self._host.ask(
                f"Killing {name}",
                lambda service: service.kill(info.machine.key),
                lambda _: self._say(name, "was killed"),
            )

        consequence = "Power drops at once. What the guest has not saved is lost."
        self._ask(Question(f"Kill {name}?", (_who(info),), consequence, "Kill"), kill)

    def _delete(self, info: ConsoleInfo) -> None:
        name = human.one_line(info.machine.name)

        def delete() -> None:
            self._host.ask(
                f"Deleting {name}",
                lambda service: service.delete(info.machine.key),
                lambda _: self._say(name, "was deleted; its disks were kept"),
            )

        consequence = "This broker forgets the VM. Its disk images are kept."
        self._ask(Question(f"Delete {name}?", (_who(info),), consequence, "Delete"), delete)

    def _ask(self, question: Question, act: Callable[[], None]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                act()

        self._app.push_screen(ConfirmScreen(question), answered)

    def _log(self, info: ConsoleInfo) -> None:
        machine = info.machine
        self._app.push_screen(MachineLogScreen(self._host, machine.key, machine.name))

    def _power(self, info: ConsoleInfo) -> None:
        def chosen(verb: str | None) -> None:
            if verb is not None:
                self._host.do(verb, info.machine.key)

        self._app.push_screen(PowerScreen(info, self._host.glyphs), chosen)


def _who(info: ConsoleInfo) -> str:
    machine = info.machine
    connected = f", {info.sessions} connected" if info.sessions else ""
    return f"{human.one_line(machine.full_name)}   {state_word(machine.state)}{connected}"
