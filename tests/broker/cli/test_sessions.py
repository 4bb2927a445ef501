from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from broker.cli import session_view
from broker.errors import NotFound
from broker.latency import Tcp, Timing, bucket_of
from broker.model import SessionId
from tests.broker.cli.calling import called
from tests.fakes.service import NOW, FakeService, console, session

LIVE = session(console("web-01"), "abcdefabcdef", "192.0.2.9:51234")


def test_json_has_the_documented_keys() -> None:
    (row,) = json.loads(called("sessions --json", FakeService(live=[LIVE])).out)
    assert {
        "id", "source", "console", "client", "channels", "started_at", "bytes_to_client",
        "bytes_to_server",
    } <= row.keys()  # fmt: skip
    assert row["channels"] == ["main", "display.0", "inputs", "cursor"]
    assert row["started_at"] == "2026-11-21T08:03:00Z"


def test_a_table_is_for_people() -> None:
    ran = called("sessions", FakeService(live=[LIVE]))
    assert "192.0.2.9:51234" in ran.out
    assert "1.8 MB" in ran.out


MEASURED = replace(
    LIVE,
    label="Ada",
    timing=Timing(
        ping={bucket_of(0.010): 95, bucket_of(0.300): 5},
        draw={bucket_of(0.020): 10},
        proxy={bucket_of(0.00005): 4},
    ),
    rate_to_client=1_500_000.4,
    channels=tuple(
        replace(each, timing=Timing(client=Tcp(0.035, 3, 1, 0.025), server=Tcp(0.0001, 0, 0)))
        if each.name == "display.0"
        else each
        for each in LIVE.channels
    ),
)


def test_latency_is_told_in_milliseconds_and_split_by_where_it_arises() -> None:
    (row,) = json.loads(called("sessions --json", FakeService(live=[MEASURED])).out)
    assert row["latency_ms"]["ping"] == {
        "p50": pytest.approx(10, rel=0.1),
        "p95": pytest.approx(10, rel=0.1),
        "count": 100,
    }
    split = row["split_ms"]
    assert split["network"] == 25
    assert split["guest"] == pytest.approx(20, rel=0.1)
    assert split["server"] == 0.1
    total = split["network"] + split["guest"] + split["proxy"]
    assert split["felt"] == pytest.approx(total, abs=0.002)
    assert row["rate_to_client"] == 1_500_000
    display = row["channel_details"][1]
    assert (display["name"], display["server_tcp"]) == (
        "display.0",
        {"rtt_ms": 0.1, "rtt_min_ms": None, "retransmits": 0, "unacked": 0},
    )
    assert row["channel_details"][0]["client_tcp"] is None


def test_what_was_not_seen_is_null() -> None:
    (row,) = json.loads(called("sessions --json", FakeService(live=[LIVE])).out)
    assert row["latency_ms"]["draw"] == {"p50": None, "p95": None, "count": 0}
    assert set(row["split_ms"].values()) == {None}


def test_a_row_says_who_how_fast_and_how_late() -> None:
    ran = called("sessions", FakeService(live=[MEASURED]))
    assert "Ada" in ran.out
    assert "1.5 MB/s 0 B/s" in ran.out
    assert re.search(r" (9\.\d|10\.\d)/(9\.\d|1\d\.\d) ms ", ran.out)


def test_one_session_is_told_whole_with_its_channels() -> None:
    ran = called("sessions abcdef", FakeService(live=[MEASURED]))
    assert "25.0 ms" in ran.out
    assert re.search(r"^guest +\d.* \(of that 0\.10 ms to the machine and back\)$", ran.out, re.M)
    assert re.search(r"^display\.0 .* 25\.0/35\.0 ms +3 +1 +0\.10/0\.10 ms$", ran.out, re.M)


def test_one_session_in_json_is_an_array_too() -> None:
    (row,) = json.loads(called("sessions abc --json", FakeService(live=[MEASURED])).out)
    assert row["label"] == "Ada"


@pytest.mark.parametrize("prefix", ["zzz", "abc"])
def test_an_id_of_none_or_of_several_is_not_found(prefix: str) -> None:
    live = [LIVE, replace(LIVE, id=SessionId("abcxyz"))]
    ran = called(f"sessions {prefix}", FakeService(live=live))
    assert (ran.code, ran.out) == (3, "")


def test_a_narrow_terminal_does_without_some_columns() -> None:
    wide, _ = session_view.table([LIVE], NOW, None)
    narrow, (cells,) = session_view.table([LIVE], NOW, 80)
    assert wide == list(session_view.HEADINGS)
    assert len(narrow) == len(cells) < len(wide)
    assert {"ID", "WHO", "CONSOLE", "AGE", "NOW", "PING", "DRAW"} <= set(narrow)


def test_nobody_on_a_screen_is_an_empty_array() -> None:
    assert called("sessions --json", FakeService()).out == "[]\n"
    assert "no live sessions" in called("sessions", FakeService()).err


def test_disconnecting_ends_it() -> None:
    service = FakeService(live=[LIVE])
    assert called("disconnect abcdefabcdef", service).code == 0
    assert service.live == []


def test_a_session_that_is_none_exits_with_3() -> None:
    service = FakeService()
    service.failing["disconnect"] = NotFound("There is no live session x")
    assert called("disconnect x --json", service).code == 3
