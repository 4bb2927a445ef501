"""A text one reads: it scrolls by the keys that lists have, too."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll


class Reading(VerticalScroll):
    """Scrolls by arrows and page keys, as Textual's own, and as lists do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False, id="reading.down"),
        Binding("k", "scroll_up", show=False, id="reading.up"),
        Binding("g", "scroll_home", show=False, id="reading.top"),
        Binding("G", "scroll_end", show=False, id="reading.end"),
        Binding("space,ctrl+d,ctrl+f", "page_down", show=False, id="reading.page-down"),
        Binding("ctrl+u,ctrl+b", "page_up", show=False, id="reading.page-up"),
    ]
