"""`broker vm clone`: whom it asks for what, and what it says meanwhile."""

from __future__ import annotations

import json

from broker.errors import UsageError
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


def test_it_makes_one_of_another() -> None:
    service = FakeService()
    ran = called("vm clone db-01 db-02", service)
    assert (ran.code, ran.out, ran.err) == (0, "db-02 is stopped\n", "")
    assert service.asked == [("clone", service.named("db-01").machine.key, "db-02", False)]


def test_a_linked_one_comes_with_a_warning() -> None:
    service = FakeService()
    ran = called("vm clone db-01 db-02 --linked --json", service)
    assert service.asked[0][-1] is True
    assert json.loads(ran.out)["name"] == "db-02"
    assert "db-01 is not started as long as db-02 is there" in ran.err


def test_a_refusal_is_told() -> None:
    service = FakeService()
    service.failing["clone"] = UsageError("demo is running", fix="Stop it first")
    ran = called("vm clone demo demo-2", service)
    assert (ran.code, ran.out) == (2, "")
    assert "Stop it first" in ran.err
