"""Puts what was measured into docs/performance.md, between two marks; the rest of it stays."""

from __future__ import annotations

from pathlib import Path

BEGIN = "<!-- what `make bench-relay` printed -->\n"
END = "<!-- end of what `make bench-relay` printed -->\n"


def put(page: Path, text: str) -> None:
    """Replace what stands between the marks.

    Raises:
        ValueError: The page has no such marks.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the marks that text goes between")
    page.write_text(f"{before}{BEGIN}\n{text.strip()}\n\n{END}{after}")
