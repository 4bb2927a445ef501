"""What a person chooses about the interface: in force at once, and kept in broker.yaml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui.host import Host
from tui.preferences import THEME

LEAD: Final = "broker-"
"""What names of themes begin with in Textual, but not in broker.yaml."""
USUAL_THEME: Final = "dark"


def keep(
    app: App[Any],
    host: Host,
    name: str,
    value: str | tuple[str, ...] | None,
    kept: Callable[[], None] = lambda: None,
) -> None:
    """Have it in broker.yaml, and say when something else will count all the same.

    Args:
        name: The setting, below `tui`.
        value: None takes it out of the file.
        kept: Called once it is.
    """

    def done(odd: str) -> None:
        if odd:
            app.notify(odd, severity="warning", markup=False)
        kept()

    # Each by itself: what is chosen while something else is being written is not to be lost.
    host.ask(f"Keeping {name}", lambda service: service.prefer(name, value), done, of=object())


def keep_theme(
    app: App[Any], host: Host, name: str | None, kept: Callable[[], None] = lambda: None
) -> None:
    """Show that theme from now on.

    Args:
        name: As in broker.yaml; None for the one it comes with.
    """
    app.theme = f"{LEAD}{name or USUAL_THEME}"
    keep(app, host, THEME, name, kept)


def _look_again(app: App[Any]) -> None:
    """Have the settings, where they are shown, follow what was kept."""
    if (look := getattr(app.screen, "look", None)) is not None:
        look()


class Themes(Provider):
    """The palette's list of themes."""

    def _offers(self) -> list[tuple[str, Callable[[], None]]]:
        names = [name.removeprefix(LEAD) for name in self.app.available_themes]
        host, kept = cast("Host", self.app), partial(_look_again, self.app)
        return [(name, partial(keep_theme, self.app, host, name, kept)) for name in names]

    async def discover(self) -> Hits:
        """All of them."""
        for name, choose in self._offers():
            yield DiscoveryHit(name, choose)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for name, choose in self._offers():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), choose, text=name)
