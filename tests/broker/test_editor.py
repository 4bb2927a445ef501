"""Which editor is taken, and what is said of one that cannot be."""

from __future__ import annotations

import pytest

from broker.editor import editor
from broker.errors import UsageError


def test_what_a_person_names_is_taken_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "'my editor' --wait")
    assert editor() == ["my editor", "--wait"]


def test_an_open_quote_is_said_with_the_variable_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "vim 'x")
    with pytest.raises(UsageError, match="VISUAL cannot be read") as caught:
        editor()
    assert "export VISUAL=" in caught.value.fix


def test_where_there_is_none_the_variable_to_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISUAL", "EDITOR", "PATH"):
        monkeypatch.setenv(name, "")
    with pytest.raises(UsageError, match="No editor") as caught:
        editor()
    assert "EDITOR" in caught.value.fix
