"""Every page of the app, by name, and the modules it can start without.

A module is imported when what it shows is first wanted, so that the first rows wait for none of it.
Those of `LATER` are imported when the list stands, one at a time and with pauses, so that keys go
before them; whoever is faster imports what they want there and then.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from textual.command import Provider

    from tui.host import Host
    from tui.screens.page import Page

EVERY: Final = {
    "consoles": "ConsolesScreen",
    "sessions": "SessionsScreen",
    "sources": "SourcesScreen",
    "events": "EventsScreen",
    "proxy": "ProxyScreen",
    "machines": "MachinesScreen",
    "settings": "SettingsScreen",
}
"""The class of each, in the module of `screens` that is called as the page; by their digits."""
LATER: Final = (
    "tui.power", "tui.verbs", "tui.screens.menu", "tui.screens.confirm", "tui.screens.power",
    "tui.commands", "tui.screens.help", "tui.screens.jump", "tui.screens.list_page",
    "tui.screens.sessions", "tui.screens.sources", "tui.screens.events", "tui.screens.proxy",
    "tui.screens.machines", "tui.screens.settings", "tui.screens.sort", "tui.screens.machine_log",
    "tui.screens.doctor", "tui.screens.export", "tui.live.letters",
    "tui.live.glance", "tui.screens.live", "tui.screens.wall", "tui.screens.snapshots",
    "tui.screens.clone", "tui.forms", "tui.screens.entry_form", "tui.screens.source_acts",
    "tui.wizard.items", "tui.wizard.form", "tui.wizard.screen",
)  # fmt: skip
"""What comes with another stands after it, so that each takes a few milliseconds at most."""
PAUSE_SECONDS: Final = 0.02


def page(name: str, host: Host) -> Page:
    """That page, new."""
    made: Page = getattr(import_module(f"tui.screens.{name}"), EVERY[name])(host)
    return made


def commands() -> type[Provider]:
    """What the palette offers."""
    from tui.commands import Commands

    return Commands


async def import_the_rest() -> None:
    """Import `LATER`, so that no key has to wait for one of them."""
    for module in LATER:
        if module not in sys.modules:
            await asyncio.sleep(PAUSE_SECONDS)
            import_module(module)
