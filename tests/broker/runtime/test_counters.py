"""What is counted has few names, whatever comes from outside."""

from __future__ import annotations

import pytest

from broker.runtime import counters
from broker.runtime.counters import REASON_MAX, Counters, kind_of


def test_a_channels_kind_is_its_name_without_its_number() -> None:
    assert (kind_of("display.0"), kind_of("main"), kind_of("")) == ("display", "main", "")


def test_a_label_has_no_colon_and_is_not_long() -> None:
    counted = Counters()
    counted.add("refused", "a:b" + "c" * 100)
    assert list(counted.take()) == ["refused:" + ("a-b" + "c" * 100)[:REASON_MAX]]


def test_a_label_that_varies_without_end_becomes_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counters, "NAMES_MAX", 3)
    counted = Counters()
    for number in range(10):
        counted.add("refused", f"reason-{number}")
    counted.add("refused", "reason-1")
    taken = counted.take()
    assert set(taken) == {
        "refused:reason-0",
        "refused:reason-1",
        "refused:reason-2",
        "refused:other",
    }
    assert taken["refused:other"] == 7
    assert taken["refused:reason-1"] == 2


def test_what_could_not_be_written_is_counted_again() -> None:
    counted = Counters()
    counted.add("opened")
    taken = counted.take()
    assert not counted.take()
    counted.add("opened", more=2)
    counted.give_back(taken)
    assert counted.take() == {"opened": 3}


def test_a_clock_that_jumped_back_counts_nothing() -> None:
    counted = Counters()
    counted.lagged(-1)
    counted.lagged(0)
    assert counted.take() == {"lag:0": 1}
