"""Colours that can be read: contrast as WCAG 2 counts it, also with the palettes of terminals."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from textual.color import Color
from textual.theme import Theme

from broker.config.settings import TuiSettings
from tests.fakes.service import FakeService
from tests.tui import cells
from tests.tui.conftest import Drive, settle
from tui import themes
from tui.app import BrokerApp

STATES = ("state-ok", "state-warn", "state-bad", "state-busy", "state-dim")
PALETTES = {
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"
    " 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    "linux": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa"
    " 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
    "tango": "2e3436 cc0000 4e9a06 c4a000 3465a4 75507b 06989a d3d7cf"
    " 555753 ef2929 8ae234 fce94f 729fcf ad7fa8 34e2e2 eeeeec",
    "solarized": "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5"
    " 002b36 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 fdf6e3",
    "gnome": "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc"
    " 5e5c64 f66151 33da7a e9ad0c 2a7bde c061cb 33c7de ffffff",
}
"""Source: the defaults of xterm, the Linux console, GNOME Terminal then and now; Solarized."""
GROUND = {
    "xterm": ("000000", "ffffff"),
    "linux": ("000000", "ffffff"),
    "tango": ("2e3436", "ffffff"),
    "solarized": ("002b36", "fdf6e3"),
    "gnome": ("171421", "ffffff"),
}
"""Its background when it is dark, and when it is light."""


def luminance(colour: Color) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(part) for part in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("theme", "least"), [(themes.DARK, 4.5), (themes.LIGHT, 4.5), (themes.CONTRAST, 7.0)]
)
def test_every_state_can_be_read_on_every_plane(theme: Theme, least: float) -> None:
    assert theme.surface
    assert theme.background
    assert theme.panel
    surface, primary = Color.parse(theme.surface), Color.parse(theme.primary)
    planes = [surface, Color.parse(theme.background), Color.parse(theme.panel)]
    assert theme.foreground
    for plane in planes:
        for colour in (theme.foreground, theme.accent, *map(theme.variables.get, STATES)):
            assert colour
            assert contrast(Color.parse(colour), plane) >= least, (theme.name, colour, plane.hex)
    assert contrast(Color.parse(theme.foreground), surface.blend(primary, 0.38)) >= 4.5


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", [themes.ANSI, themes.ANSI_LIGHT])
def test_the_terminal_s_colours_can_be_told_from_its_background(theme: Theme, palette: str) -> None:
    colours = [Color.parse(f"#{each}") for each in PALETTES[palette].split()]
    ground = Color.parse(f"#{GROUND[palette][not theme.dark]}")
    for name in ("primary", *STATES):
        colour = Color.parse(theme.variables.get(name) or theme.primary)
        assert colour.ansi is not None
        if colour.ansi >= 0:  # else it is the terminal's own foreground
            assert contrast(colours[colour.ansi], ground) >= 2.95, (name, colour)


def test_what_can_be_set_is_what_there_is() -> None:
    named = get_args(get_type_hints(TuiSettings)["theme"])
    assert [f"broker-{name}" for name in named] == list(themes.BY_NAME)


@pytest.mark.parametrize("theme", [themes.ANSI.name, themes.ANSI_LIGHT.name])
async def test_only_the_terminal_s_colours_are_used(
    drive: Drive, service: FakeService, theme: str
) -> None:
    async with drive(service, theme=theme, size=(100, 30)) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        for pressed in (["j", "j"], ["p"], ["k"], ["escape"], ["question_mark"], ["escape"], ["n"]):
            await pilot.press(*pressed)
            await settle(pilot)
            assert "#" not in cells.legend(pilot.app)


async def test_a_theme_is_changed_while_it_runs(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        for theme in themes.BY_NAME.values():
            pilot.app.theme = theme.name
            await settle(pilot)
            assert ("#" in cells.legend(pilot.app)) is not theme.ansi
