from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from broker.proxy.watch import settle


@pytest.fixture
def as_it_was() -> Iterator[float]:
    interval = sys.getswitchinterval()
    yield interval
    sys.setswitchinterval(interval)
    gc.unfreeze()


def test_a_process_that_relays_is_held_up_by_nothing_else_in_it(
    as_it_was: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # it would find what other tests left
    settle()
    assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() < as_it_was / 10
