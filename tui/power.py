"""Switching machines: one or many, at once, after a moment to undo, or after a question.

Machines are held by key from the moment a person asks, whatever the list looks like later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

from textual.app import App

from broker import human
from broker.errors import BrokerError
from broker.human import counted
from broker.model import MachineKey
from broker.service.port import ConsoleInfo, Service
from tui import keys
from tui.allowed import why_not
from tui.host import Host
from tui.people import who
from tui.rows import state_word
from tui.undo import Undo

_AT_ONCE: Final = 8
_NAMED: Final = 8
_TYPED_FROM: Final = 11
"""From so many machines on the number has to be typed."""


class Tier(Enum):
    """How much an act can hurt."""

    FREE = "free"
    UNDO = "undo"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class Act:
    """A verb of power, in words."""

    doing: str
    done: str
    tier: Tier
    call: Callable[[Service, MachineKey], Awaitable[Any]]
    button: str = ""
    consequence: str = ""


ACTS: Final = {
    "start": Act("Starting", "started", Tier.FREE, lambda s, key: s.start(key)),
    "resume": Act("Resuming", "resumed", Tier.FREE, lambda s, key: s.resume(key)),
    "stop": Act("Shutting down", "shut down", Tier.UNDO, lambda s, key: s.stop(key)),
    "reboot": Act("Rebooting", "told to boot anew", Tier.UNDO, lambda s, key: s.reboot(key)),
    "pause": Act("Pausing", "paused", Tier.UNDO, lambda s, key: s.pause(key)),
    "reset": Act(
        "Resetting",
        "reset",
        Tier.CONFIRM,
        lambda s, key: s.reset(key),
        "Reset",
        "It boots anew at once. What the guest has not saved is lost.",
    ),
    "kill": Act(
        "Killing",
        "killed",
        Tier.CONFIRM,
        lambda s, key: s.kill(key),
        "Kill",
        "Power drops at once. What the guest has not saved is lost.",
    ),
    "delete": Act(
        "Deleting",
        "deleted; disks were kept",
        Tier.CONFIRM,
        lambda s, key: s.delete(key),
        "Delete",
        "This broker forgets the VM. Its disk images are kept.",
    ),
}


class Power:
    """Does verbs of power to machines."""

    def __init__(self, app: App[Any], host: Host, undo: Undo) -> None:
        self._app = app
        self._host = host
        self._undo = undo
        self.failures: list[str] = []
        """What failed in the last work on many machines: a line each."""

    def do(self, verb: str, infos: Sequence[ConsoleInfo]) -> None:
        """Do it to those it can be done to, or say why not."""
        able = [info for info in infos if not why_not(verb, info)]
        if not able:
            reason = why_not(verb, infos[0]) if infos else "Nothing is selected"
            more = f" (and {len(infos) - 1} others)" if len(infos) > 1 else ""
            self._app.notify(human.one_line(reason) + more, severity="warning", markup=False)
            return
        act = ACTS[verb]
        label = f"{act.doing} {self._whom(able)}"
        of = (verb, frozenset(info.machine.key for info in able))
        run = partial(self._run, label, act, able, of)
        if act.tier is Tier.FREE:
            run()
        elif act.tier is Tier.UNDO:
            self._undo.later(label, run, of)
        else:
            self._ask(act, able, len(infos) - len(able), run)

    def _whom(self, infos: Sequence[ConsoleInfo]) -> str:
        if len(infos) == 1:
            return human.one_line(infos[0].machine.name)
        return counted(len(infos), "machine")

    def _ask(
        self, act: Act, infos: Sequence[ConsoleInfo], left_out: int, run: Callable[[], None]
    ) -> None:
        from tui.screens.confirm import ConfirmScreen, Question

        names = [who(self._host, info) for info in infos[:_NAMED]]
        if len(infos) > _NAMED:
            names.append(f"and {len(infos) - _NAMED} more")
        consequence = act.consequence
        if left_out:
            consequence += f" It cannot be done to {left_out} of those marked."
        question = Question(
            f"{act.button} {self._whom(infos)}?",
            tuple(names),
            consequence,
            act.button,
            type_first=str(len(infos)) if len(infos) >= _TYPED_FROM else "",
        )

        def answered(yes: bool | None) -> None:
            if yes:
                run()

        self._app.push_screen(ConfirmScreen(question), answered)

    def _run(self, label: str, act: Act, infos: Sequence[ConsoleInfo], of: Hashable) -> None:
        if len(infos) == 1:
            machine = infos[0].machine
            name = human.one_line(machine.name)
            self._host.ask(
                label,
                lambda service: act.call(service, machine.key),
                lambda result: self._app.notify(_said(act, result), title=name, markup=False),
                of=of,
            )
            return

        async def all_of_them(service: Service) -> list[str]:
            room = asyncio.Semaphore(_AT_ONCE)

            async def one(info: ConsoleInfo) -> str:
                async with room:
                    try:
                        await act.call(service, info.machine.key)
                    except BrokerError as problem:
                        return f"{human.one_line(info.machine.full_name)}: {problem}"
                return ""

            return [text for text in await asyncio.gather(*map(one, infos)) if text]

        def over(failed: list[str]) -> None:
            self.failures = failed
            done = len(infos) - len(failed)
            text = f"{done} of {len(infos)} {act.done}"
            if failed:
                text += f"; {len(failed)} failed: {keys.FAILURES.sign} shows why"
            severity = "warning" if failed else "information"
            self._app.notify(text, title=label, severity=severity, markup=False)  # type: ignore[arg-type] # one of its words

        self._host.ask(label, all_of_them, over, of=of)


def _said(act: Act, result: object) -> str:
    state = getattr(result, "state", None)
    if state is None or act.tier is Tier.CONFIRM:
        return f"was {act.done}"
    return f"is {state_word(state)}"
