"""The page keeps what was not measured anew."""

from __future__ import annotations

from pathlib import Path

from bench.__main__ import PAGE, PARTS
from bench.measure import summarise
from bench.page import MARK, merged
from bench.report import Part, Row, told

PAGE_BEFORE = f"""# Performance

Words.

{MARK}
old machine

<!-- part paint -->
## Old paint
<!-- end of part paint -->

<!-- part feel -->
## Old feel
<!-- end of part feel -->
"""


def test_one_part_is_replaced_and_the_others_stay() -> None:
    page = merged(PAGE_BEFORE, "new machine\n", {"feel": "## New\n"}, ("paint", "lists", "feel"))
    assert page.startswith(f"# Performance\n\nWords.\n\n{MARK}\nnew machine\n")
    assert page.count("## ") == 2
    assert page.index("## Old paint") < page.index("## New")


def test_a_part_that_was_never_run_gets_its_place() -> None:
    page = merged(PAGE_BEFORE, "m\n", {"lists": "## Lists\n"}, ("paint", "lists", "feel"))
    assert page.index("Old paint") < page.index("Lists") < page.index("Old feel")
    assert merged(page, "m\n", {}, ("paint", "lists", "feel")) == page


def test_a_measurement_says_when_it_was_taken() -> None:
    text = told([Part("Title", "How.", [Row("one", summarise([0.1, 0.2]))])], "on a day")
    assert "## Title\n\nHow. Measured on a day.\n" in text
    assert "| one | 2 | 100 | **150** | 200 |" in text


def test_the_page_has_the_parts_that_there_are() -> None:
    page = Path(PAGE).read_text()
    assert merged(page, "", {}, tuple(PARTS)).count("<!-- part ") == page.count("<!-- part ") > 0
