from __future__ import annotations

import json
from dataclasses import replace

from broker.model import Health
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService, sources


def test_a_source_in_trouble_exits_with_4_and_is_explained() -> None:
    ran = called("sources", FakeService())
    assert ran.code == 4
    assert "sources.yaml: line 14" in ran.out
    assert "lab: Mend that line" in ran.err
    assert "debug: consoles 2 and 5 have the same uuid" in ran.err


def test_json_tells_all_of_it() -> None:
    rows = json.loads(called("sources --json", FakeService()).out)
    assert [row["health"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[0]["warnings"]
    assert rows[1]["problem"]
    assert rows[1]["fix"]


def test_warnings_alone_are_no_failure() -> None:
    status = [replace(one, health=Health.OK, problem="") for one in sources()]
    assert called("sources", FakeService(status=status)).code == 0


def test_refresh_asks_them() -> None:
    service = FakeService()
    called("sources --refresh", service)
    assert service.asked == [("refresh",)]
