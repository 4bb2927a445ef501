"""Textual's stylesheet, which remembers what it has parsed.

Textual parses all of it anew for each screen that brings styles of its own and whenever a theme is
set, four times before the first paint. The rules depend on the text and the theme's variables only.
"""

from __future__ import annotations

from typing import Final

from textual.css.stylesheet import Stylesheet

SOURCES: Final = 512
"""More than there are texts; of one more than it remembers, it would find none again."""


class RememberingStylesheet(Stylesheet):
    """The same rules in the end."""

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._parse_cache.maxsize = SOURCES

    def set_variables(self, variables: dict[str, str]) -> None:
        """Forget what was parsed only where these are others."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse what was not parsed yet.

        Raises:
            StylesheetError, StylesheetParseError: Styles are wrong; what was good stays.
        """
        self.parse()
