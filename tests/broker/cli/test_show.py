from __future__ import annotations

import json

from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


def test_facts_for_people_leave_out_what_is_empty() -> None:
    ran = called("show web-01", FakeService())
    assert "screen      handed over by QEMU; nothing listens" in ran.out
    assert "memory      1024 MiB" in ran.out
    assert "reason" not in ran.out


def test_json_says_where_the_screen_is_and_how_a_local_vm_was_defined() -> None:
    document = json.loads(called("show web-01 --json", FakeService()).out)
    assert document["target"] == {"kind": "hand-over", "control_path": "ctl.sock"}
    assert document["spec"]["memory"] == 1024


def test_a_console_of_another_source_has_no_spec() -> None:
    document = json.loads(called("show printer --json", FakeService()).out)
    assert document["spec"] is None
    assert document["target"]["tls_port"] == 5901


def test_an_unknown_console_exits_with_3() -> None:
    ran = called("show nobody", FakeService())
    assert (ran.code, ran.out) == (3, "")
    assert "nobody" in ran.err
