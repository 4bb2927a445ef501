"""docs/performance.md: what a run printed, kept part by part, so that one part can be run anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MARK = "<!-- what `make bench` printed; everything below is written by it -->\n"
_PART = re.compile(r"<!-- part (\S+) -->\n(.*?)<!-- end of part \1 -->\n", re.DOTALL)


def merged(page: str, head: str, fresh: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with these parts in place of what it had of them; the others stay as they are.

    Args:
        head: What is said of the machine; it was the same for the parts that stay, or their
            figures are worth little beside the new ones.
        fresh: What was printed, by part.
        order: Of all parts.
    """
    above, mark, below = page.partition(MARK)
    parts = dict(_PART.findall(below)) | fresh
    text = "".join(
        f"\n<!-- part {name} -->\n{parts[name]}<!-- end of part {name} -->\n"
        for name in order
        if name in parts
    )
    return above + (mark or MARK) + "\n" + head + text
