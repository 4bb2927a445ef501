"""Every page of the app, in the order of its digits."""

from __future__ import annotations

from typing import Final

from tui.screens.consoles import ConsolesScreen
from tui.screens.events import EventsScreen
from tui.screens.machines import MachinesScreen
from tui.screens.page import Page
from tui.screens.proxy import ProxyScreen
from tui.screens.sessions import SessionsScreen
from tui.screens.settings import SettingsScreen
from tui.screens.sources import SourcesScreen

EVERY: Final[tuple[type[Page], ...]] = (
    ConsolesScreen,
    SessionsScreen,
    SourcesScreen,
    EventsScreen,
    ProxyScreen,
    MachinesScreen,
    SettingsScreen,
)
