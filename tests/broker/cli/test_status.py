from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from broker.model import ProxyStatus
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService

SERVING = ProxyStatus(True, host="gw", tls_port=5920, pid=12, workers=(13, 14))


def test_a_proxy_that_serves_exits_with_0() -> None:
    ran = called("status", FakeService(proxy=SERVING))
    assert (ran.code, ran.out) == (0, "serving on gw:5920 (process 12)\n")


def test_json_has_the_documented_keys() -> None:
    assert json.loads(called("status --json", FakeService(proxy=SERVING)).out) == {
        "serving": True, "host": "gw", "tls_port": 5920, "pid": 12, "workers": [13, 14],
        "metrics_port": None, "draining": False,
    }  # fmt: skip


def test_a_proxy_that_is_being_stopped_lets_nobody_in_and_says_so() -> None:
    stopping = FakeService(proxy=replace(SERVING, draining=True))
    ran = called("status", stopping)
    assert (ran.code, ran.out) == (4, "serving on gw:5920 (process 12)\n")
    assert "nobody new is let in" in ran.err
    assert json.loads(called("status --json", stopping).out)["draining"] is True
    assert "being stopped" in called("top --once", stopping).out


def test_no_proxy_exits_with_4_and_names_serve() -> None:
    ran = called("status --wait 0", FakeService())
    assert (ran.code, ran.out) == (4, "not serving\n")
    assert "broker serve" in ran.err


def test_waiting_ends_when_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService()

    def later(seconds: float) -> None:
        del seconds
        service.proxy = SERVING

    monkeypatch.setattr(time, "sleep", later)
    assert called("status --wait 30", service).code == 0


def test_waiting_has_an_end() -> None:
    assert called("status --wait 0.2s --json", FakeService()).code == 4
