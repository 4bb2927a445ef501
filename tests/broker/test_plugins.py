from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator

import pytest

from broker import plugins
from broker.errors import ConfigError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plugins._found.cache_clear()
    yield
    plugins._found.cache_clear()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point whose module is not there."""
    entry = importlib.metadata.EntryPoint("broken", "sources.nowhere:Driver", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])


def test_our_own_types_are_found() -> None:
    assert {"local", "static"} <= set(plugins.driver_types())


def test_a_driver_says_its_type() -> None:
    assert plugins.driver_class("static").type == "static"


def test_an_unknown_type_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean static"):
        plugins.driver_class("statik")


def test_a_type_like_none_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"There are: .*local, .*static"):
        plugins.driver_class("zzz")


@pytest.mark.usefixtures("broken")
def test_a_driver_that_cannot_be_imported_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"sources\.nowhere is missing"):
        plugins.driver_class("broken")


def test_no_driver_is_imported_to_list_the_types() -> None:
    code = (
        "import sys; from broker.plugins import driver_types; driver_types();"
        "print([m for m in sys.modules if m.startswith(('sources.', 'pydantic'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
