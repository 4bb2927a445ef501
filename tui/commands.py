"""The palette: every verb for every console, and first what applies to the selected one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, cast

from textual.app import App, SystemCommand
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.screen import Screen

from broker import human
from broker.service.port import ConsoleInfo
from tui import keys
from tui.allowed import why_not
from tui.host import Host
from tui.screens.consoles import ConsolesScreen
from tui.screens.page import Page

_MOST_HITS: Final = 20
_VERBS: Final = (
    ("open", keys.OPEN),
    ("export", keys.EXPORT),
    ("start", keys.START),
    ("stop", keys.STOP),
    ("kill", keys.KILL),
    ("delete", keys.DELETE),
    ("log", keys.LOG),
    ("doctor", keys.DOCTOR_LOOK),
)


class ConsoleCommands(Provider):
    """`kill db`: the first word may begin a verb's name, the others filter the consoles."""

    @property
    def _host(self) -> Host:
        return cast("Host", self.app)

    async def discover(self) -> Hits:
        """What can be done to the selected console."""
        info = getattr(self.screen, "selected", None)
        if not isinstance(info, ConsoleInfo):
            return
        name = human.one_line(info.machine.name)
        for verb, act in _VERBS:
            if not why_not(verb, info):
                do = partial(self._host.do, verb, info.machine.key)
                title = Content(f"{act.label} {name}")
                yield DiscoveryHit(title, do, text=title.plain, help=act.help)

    async def search(self, query: str) -> Hits:
        """Verbs times consoles, the best few: the catalog filters, never the palette's matcher."""
        for place, (title, verb, act, info) in enumerate(islice(self._offers(query), _MOST_HITS)):
            do = partial(self._host.do, verb, info.machine.key)
            yield Hit(1 - place / 100, Content(title), do, text=title, help=act.help)

    def _offers(self, query: str) -> Iterator[tuple[str, str, keys.Act, ConsoleInfo]]:
        catalog = self._host.catalog
        first, _, rest = query.strip().lower().partition(" ")
        verbs = [
            (verb, act) for verb, act in _VERBS if first and act.label.lower().startswith(first)
        ]
        text = rest if verbs else query
        found, _ = catalog.find(text)
        for number in islice(found, _MOST_HITS):
            info = catalog.row(number)
            name = human.one_line(info.machine.full_name)
            for verb, act in verbs or _VERBS[:2]:
                if not why_not(verb, info):
                    yield f"{act.label} {name}", verb, act, info


def everywhere(app: App[Any], screen: Screen[object]) -> Iterable[SystemCommand]:
    """What there is to do whatever is selected: pages to go to, and the app's own verbs."""
    for act in keys.APP:
        if act.id.startswith("screen."):
            go = partial(app.run_action, act.action, app)
            yield SystemCommand(f"Go to {act.label}", act.help, go)
    if isinstance(screen, ConsolesScreen):
        yield SystemCommand(keys.NEW.label, keys.NEW.help, screen.action_new_vm)
    if isinstance(screen, Page):
        yield SystemCommand(keys.REFRESH.label, keys.REFRESH.help, screen.action_refresh_sources)
    yield SystemCommand(
        "Theme", "Choose colours: dark, light, high contrast, the terminal's", app.search_themes
    )
    yield SystemCommand("Keys", keys.HELP.help, partial(app.run_action, keys.HELP.action, app))
    yield SystemCommand("Quit", "Leave the app", app.action_quit)
