"""What every test stands on: a home of its own, nobody's locale, and how hard hypothesis tries."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from broker.config.locations import Locations
from tests.fake_clock import FakeClock

__all__ = ["FakeClock"]

settings.register_profile(
    "fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores Ctrl-C, and so would every program that the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is here before the first test stays; looking at it after each takes 40 ms."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Every test answers for its own sockets, processes and coroutines.

    Left to the garbage collector, they would fail whichever test runs when it gets to them.
    """
    outcome = yield
    left: list[BaseException] = []
    told, sys.unraisablehook = sys.unraisablehook, lambda what: left.append(_error_of(what))
    try:
        gc.collect()
    finally:
        sys.unraisablehook = told
    if left:
        raise BaseExceptionGroup(f"{item.name} left something to the garbage collector", left)
    return outcome


def _error_of(what: sys.UnraisableHookArgs) -> BaseException:
    return what.exc_value or RuntimeError(f"{what.exc_type.__name__}: {what.err_msg}")


@pytest.fixture(autouse=True)
def broker_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A BROKER_HOME for this test alone, with a path short enough for unix sockets.

    The developer's configuration, home, locale and settings in the environment are hidden.
    """
    base = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    for variable in list(os.environ):
        if variable.startswith(("BROKER_", "XDG_", "LC_")) or variable in ("NO_COLOR", "LANGUAGE"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("HOME", str(base / "home"))
    (base / "home").mkdir()
    monkeypatch.setenv("BROKER_HOME", str(base))
    yield base
    logging.captureWarnings(False)  # left on, it would look on where the next test's go
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def locations(broker_home: Path) -> Locations:
    """Our four directories for this test, made."""
    found = Locations.from_env()
    found.prepare()
    return found


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at 2026-11-21 08:15 UTC."""
    return FakeClock()
