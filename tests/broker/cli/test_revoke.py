from __future__ import annotations

import json

import pytest

from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


def test_the_files_of_one_console_are_revoked() -> None:
    service = FakeService()
    key = service.named("web-01").machine.key
    ran = called("revoke web-01 --json", service)
    assert (ran.code, json.loads(ran.out)) == (0, {"revoked": 3})
    assert service.asked == [("revoke", key)]


def test_all_files_are_revoked() -> None:
    ran = called("revoke --all", FakeService())
    assert (ran.code, ran.out) == (0, "")
    assert "3 files" in ran.err


@pytest.mark.parametrize("words", ["revoke", "revoke web-01 --all"])
def test_what_is_meant_must_be_said(words: str) -> None:
    ran = called(words, FakeService())
    assert ran.code == 2
    assert "--all" in ran.err
