"""Colours: planes instead of boxes, one accent, states in the Okabe-Ito set (no green and red)."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

STATES_DARK: Final = {
    "state-ok": "#56B4E9",
    "state-warn": "#E69F00",
    "state-bad": "#FF7043",
    "state-busy": "#CC79A7",
    "state-dim": "#8a93a0",
}
STATES_LIGHT: Final = {
    "state-ok": "#005f99",
    "state-warn": "#8a5a00",
    "state-bad": "#b23a00",
    "state-busy": "#8f3d70",
    "state-dim": "#5b6570",
}

DARK: Final = Theme(
    name="broker-dark",
    primary="#4c9be8",
    secondary="#7aa2c8",
    accent="#56B4E9",
    warning="#E69F00",
    error="#FF7043",
    success="#56B4E9",
    foreground="#d8dee6",
    background="#11151a",
    surface="#161b21",
    panel="#1f262e",
    dark=True,
    variables=STATES_DARK,
)
LIGHT: Final = Theme(
    name="broker-light",
    primary="#0b6bb8",
    secondary="#456f94",
    accent="#005f99",
    warning="#8a5a00",
    error="#b23a00",
    success="#005f99",
    foreground="#1d242c",
    background="#f4f6f8",
    surface="#ffffff",
    panel="#e3e8ed",
    dark=False,
    variables=STATES_LIGHT,
)
CONTRAST: Final = Theme(
    name="broker-contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffd700",
    warning="#ffd700",
    error="#ff8c66",
    success="#7fd0ff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#202020",
    dark=True,
    variables={
        "state-ok": "#7fd0ff",
        "state-warn": "#ffd700",
        "state-bad": "#ff8c66",
        "state-busy": "#ff9fd5",
        "state-dim": "#c0c0c0",
    },
)


def _of_the_terminal(name: str, *, dark: bool, states: dict[str, str]) -> Theme:
    """Colours by their numbers: which ones they are, the terminal's owner decides.

    There is no blending, so what lies under the cursor is reversed, and what is dim is dim by an
    attribute: `styles/app.tcss`, at `:ansi`.
    """
    accent = states["state-ok"]
    return Theme(
        name=name,
        ansi=True,
        dark=dark,
        primary=states["primary"],
        secondary=states["primary"],
        accent=accent,
        success=accent,
        warning=states["state-warn"],
        error=states["state-bad"],
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            "state-dim": "ansi_default",
            "ansi-background": "ansi_default",  # Textual's own sheets name these two
            "ansi-foreground": "ansi_default",
            "border": states["primary"],
            "scrollbar": states["primary"],
            "block-cursor-foreground": "ansi_black" if dark else "ansi_bright_white",
            "block-cursor-background": states["primary"],
            "block-cursor-text-style": "bold",
            **{name: colour for name, colour in states.items() if name != "primary"},
        },
    )


ANSI: Final = _of_the_terminal(
    "broker-ansi",
    dark=True,
    states={
        "primary": "ansi_bright_blue",
        "state-ok": "ansi_bright_cyan",
        "state-warn": "ansi_yellow",
        "state-bad": "ansi_bright_red",
        "state-busy": "ansi_bright_magenta",
    },
)
"""The terminal's own sixteen, on a dark background. The numbers are those that can be read with
the palettes of xterm, the Linux console, Tango, Solarized and GNOME (a test measures it)."""
ANSI_LIGHT: Final = _of_the_terminal(
    "broker-ansi-light",
    dark=False,
    states={
        "primary": "ansi_blue",
        "state-ok": "ansi_blue",
        "state-warn": "ansi_magenta",
        "state-bad": "ansi_red",
        "state-busy": "ansi_bright_black",
    },
)
"""The same on a light background, where yellow and cyan cannot be read."""
BY_NAME: Final = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST, ANSI, ANSI_LIGHT)}
