from __future__ import annotations

from pathlib import Path

import pytest

from broker.typed_path import expanded, is_directory, is_missing

LONG = "a" * 5000


def test_home_is_expanded_and_a_user_nobody_knows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    assert expanded("~/a.vv") == Path("/home/ana/a.vv")
    assert expanded("~nobody-at-all/a.vv") == Path("~nobody-at-all/a.vv")


def test_only_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_missing(tmp_path / "file")
    assert is_missing(tmp_path / "none")
    assert is_missing(tmp_path / "file" / "below")


@pytest.mark.parametrize("odd", [LONG, "a\0b"], ids=["too long", "NUL"])
def test_what_cannot_be_looked_at_fails_nobody(odd: str) -> None:
    assert not is_missing(Path(odd))
    assert not is_directory(Path(odd))
