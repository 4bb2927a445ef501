"""The palette: every verb for every console, and first what applies to the selected one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from textual.app import App, SystemCommand
from textual.command import DiscoveryHit, Hit, Hits
from textual.content import Content
from textual.screen import Screen
from textual.system_commands import SystemCommandsProvider

from broker import human
from broker.service.info import ConsoleInfo
from tui import keys
from tui.act import verb_of
from tui.allowed import why_not
from tui.host import Host
from tui.screens.consoles import ConsolesScreen
from tui.screens.machines import MachinesScreen
from tui.screens.page import Page
from tui.screens.row_menu import RowMenu
from tui.screens.source_acts import SourceActs

_MOST_HITS: Final = 20
_OF_POWER: Final = (*keys.OF_POWER, keys.REBOOT)
_ACTS: Final = (
    keys.OPEN, keys.LIVE, keys.SERIAL, keys.EXPORT, *_OF_POWER, keys.EDIT, keys.CLONE,
    keys.SNAPSHOTS, keys.LOG, keys.DOCTOR_LOOK,
)  # fmt: skip


class Offer(NamedTuple):
    """Something to do, in words."""

    title: str
    act: keys.Act
    do: Callable[[], None]


class Commands(SystemCommandsProvider):
    """`kill db`: the first word may begin a verb's name, the others filter the consoles.

    Verbs of power are offered for the marked ones too. All go the way that keys go, so that what
    waits, waits, and what asks first, asks first. The app's own commands come last: Textual asks
    several providers in any order.
    """

    @property
    def _host(self) -> Host:
        return cast("Host", self.app)

    async def discover(self) -> Hits:
        """What can be done to the marked consoles, or to the selected one."""
        for title, act, do in (*self._of_many(_OF_POWER), *self._of_one()):
            yield DiscoveryHit(Content(title), do, text=title, help=act.help)
        async for hit in super().discover():
            yield hit

    async def search(self, query: str) -> Hits:
        """Verbs times consoles, the best few: the catalog filters, never the palette's matcher."""
        for place, (title, act, do) in enumerate(islice(self._offers(query), _MOST_HITS)):
            yield Hit(1 - place / 100, Content(title), do, text=title, help=act.help)
        async for hit in super().search(query):
            yield hit

    def _of_one(self) -> Iterator[Offer]:
        infos = self._chosen()
        if len(infos) == 1:
            yield from self._for(infos[0], _ACTS, human.one_line(infos[0].machine.name))

    def _chosen(self) -> Sequence[ConsoleInfo]:
        return self.screen.machines() if isinstance(self.screen, RowMenu) else ()

    def _of_many(self, acts: Sequence[keys.Act]) -> Iterator[Offer]:
        infos = self._chosen()
        if len(infos) < 2:
            return
        held = [info.machine.key for info in infos]
        for act in acts:
            able = sum(not why_not(verb_of(act), info) for info in infos)
            if act in _OF_POWER and able:
                only = f" ({able} of them)" if able < len(infos) else ""
                do = partial(self._host.do_all, verb_of(act), held)
                yield Offer(f"{act.label} {len(infos)} marked{only}", act, do)

    def _for(self, info: ConsoleInfo, acts: Sequence[keys.Act], name: str) -> Iterator[Offer]:
        for act in acts:
            if not why_not(verb_of(act), info):
                do = partial(self._host.do, verb_of(act), info.machine.key)
                yield Offer(f"{act.label} {name}", act, do)

    def _offers(self, query: str) -> Iterator[Offer]:
        first, _, rest = query.strip().lower().partition(" ")
        acts = [
            act
            for act in _ACTS
            if first and (f" {act.label.lower()} {verb_of(act)}").count(f" {first}")
        ]
        if acts and "marked".startswith(rest.split(" ")[-1]):
            yield from self._of_many(acts)
        found, _ = self._host.catalog.find(rest if acts else query)
        for number in islice(found, _MOST_HITS):
            info = self._host.catalog.row(number)
            yield from self._for(info, acts or _ACTS[:4], human.one_line(info.machine.full_name))


def everywhere(app: App[Any], screen: Screen[object]) -> Iterable[SystemCommand]:
    """What there is to do whatever is selected: pages to go to, and the app's own verbs."""
    for act in keys.APP:
        if act.action.startswith("go("):
            go = partial(app.run_action, act.action, app)
            yield SystemCommand(f"Go to {act.label}", act.help, go)
    if isinstance(screen, ConsolesScreen | MachinesScreen):
        yield SystemCommand(keys.NEW.label, keys.NEW.help, screen.action_new_vm)
    add = SourceActs(app, cast("Host", app)).add
    yield SystemCommand("New source", keys.SOURCE_ADD.help, add)
    if isinstance(screen, Page):
        yield SystemCommand(keys.REFRESH.label, keys.REFRESH.help, screen.action_refresh_sources)
    yield SystemCommand(
        "Theme", "Choose colours: dark, light, high contrast, the terminal's", app.search_themes
    )
    yield SystemCommand("Keys", keys.HELP.help, partial(app.run_action, keys.HELP.action, app))
    yield SystemCommand("Quit", "Leave the app", app.action_quit)
