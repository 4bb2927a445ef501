"""One list of keys: no clashes, no action without its method, nothing that acts has priority."""

from __future__ import annotations

import pytest

from tui import keys
from tui.app import BrokerApp
from tui.screens.consoles import ConsolesScreen
from tui.screens.events import EventsScreen
from tui.screens.machine_log import MachineLogScreen
from tui.screens.power import PowerScreen
from tui.screens.sessions import SessionsScreen
from tui.screens.sources import SourcesScreen
from tui.screens.trouble import TroubleScreen

PAGES = ("Consoles", "Sessions", "Sources", "Events")
SCREENS = {
    "Consoles": ConsolesScreen,
    "Sessions": SessionsScreen,
    "Sources": SourcesScreen,
    "Events": EventsScreen,
    "Power": PowerScreen,
    "Log": MachineLogScreen,
    "Trouble": TroubleScreen,
}


def doubled(acts: tuple[keys.Act, ...]) -> list[str]:
    """Keys that two acts share."""
    pressed = [key for act in acts for key in act.key.split(",")]
    return sorted({key for key in pressed if pressed.count(key) > 1})


@pytest.mark.parametrize("name", PAGES)
def test_no_two_acts_of_a_page_share_a_key(name: str) -> None:
    assert doubled((*keys.SCREENS[name], *keys.TABLE, *keys.APP)) == []


@pytest.mark.parametrize("name", ["Power", "Trouble"])
def test_no_two_acts_of_a_dialog_share_a_key(name: str) -> None:
    assert doubled(keys.SCREENS[name]) == []


@pytest.mark.parametrize("name", SCREENS)
def test_every_act_of_a_screen_has_its_method(name: str) -> None:
    missing = [
        act.id
        for act in keys.SCREENS[name]
        if not hasattr(SCREENS[name], f"action_{act.action.partition('(')[0]}")
    ]
    assert missing == []


def test_every_act_of_the_app_has_its_method() -> None:
    missing = [
        act.id
        for act in keys.APP
        if not hasattr(BrokerApp, f"action_{act.action.partition('(')[0]}")
    ]
    assert missing == []


def test_a_key_with_priority_never_acts_on_the_selected_row() -> None:
    acting = {act.id for act in keys.BY_ID.values() if act.needs or act.id.startswith("session.")}
    assert {act.id for act in keys.BY_ID.values() if act.priority} & acting == set()


def test_ids_are_unique_and_every_act_says_what_it_does() -> None:
    acts = [act for group in (*keys.SCREENS.values(), keys.TABLE, keys.APP) for act in group]
    by_id = {act.id: act for act in acts}
    assert all(by_id[act.id] is act for act in acts)
    assert all(act.help and act.label for act in acts)


@pytest.mark.parametrize(
    ("key", "reads"),
    [
        ("enter", "⏎"),
        ("ctrl+p", "^p"),
        ("question_mark", "?"),
        ("G", "G"),
        ("escape", "Esc"),
        ("f7", "F7"),
        ("f", "f"),
    ],
)
def test_keys_read_as_people_write_them(key: str, reads: str) -> None:
    assert keys.display(key) == reads
