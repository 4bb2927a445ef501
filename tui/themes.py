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
    "state-dim": "#66707c",
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
ALL: Final = (DARK, LIGHT, CONTRAST)
