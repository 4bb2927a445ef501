from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model import MachineKey, SourceName
from tests.broker.cli.calling import called
from tests.fakes.service import FOUND, FakeService, console


def test_the_list_holds_local_vms_only() -> None:
    rows = json.loads(called("vm list --json", FakeService()).out)
    assert [row["name"] for row in rows] == ["db-01", "demo", "web-01", "web-02"]
    assert {"name", "uuid", "state", "pid"} <= rows[0].keys()


def test_a_table_gives_the_reason_of_a_trouble() -> None:
    assert "crashed: QEMU stopped" in called("vm list", FakeService()).out


@pytest.mark.parametrize(
    ("verb", "said"), [("start", "running"), ("stop", "stopped"), ("kill", "stopped")]
)
def test_a_switch_says_the_state_that_came_of_it(verb: str, said: str) -> None:
    service = FakeService()
    ran = called(f"vm {verb} db-01", service)
    assert ran.code == 0
    assert f"db-01 is {said}" in ran.out
    assert service.asked[0][0] == verb


def test_a_vm_that_does_not_start_is_a_failure_in_qemus_words() -> None:
    ran = called("vm start web-02 --json", FakeService())
    assert (ran.code, ran.out) == (1, "")
    document = json.loads(ran.err)
    assert document["error"] == "vm-start-failed"
    assert "Could not access KVM" in document["what"]
    assert document["fix"]


def test_a_machine_of_another_source_is_not_switched() -> None:
    ran = called("vm start printer", FakeService())
    assert ran.code == 2
    assert "debug/printer is not a VM of this host" in ran.err


def test_the_local_vm_wins_over_a_namesake_elsewhere() -> None:
    service = FakeService()
    other = console("demo", "lab", 99)
    service.rows.insert(
        0,
        replace(
            other,
            machine=replace(
                other.machine, key=MachineKey(SourceName("lab"), other.machine.key.uuid)
            ),
        ),
    )
    assert called("vm stop demo", service).code == 0
    assert service.named("demo").machine.key.source == "lab"
    assert service.asked[0][1] == service.rows[3].machine.key


def test_a_running_vm_is_not_deleted() -> None:
    service = FakeService()
    ran = called("vm delete web-01 --yes", service)
    assert ran.code == 2
    assert "broker vm stop web-01" in ran.err
    assert service.asked == []


def test_deleting_asks_nobody_where_nobody_is() -> None:
    service = FakeService()
    ran = called("vm delete db-01", service)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert service.asked == []


def test_yes_deletes() -> None:
    service = FakeService()
    assert called("vm delete db-01 --yes", service).code == 0
    assert service.asked[0][0] == "delete"


def test_the_log_comes_as_it_is() -> None:
    assert called("vm log web-01 --serial", FakeService()).out == "TEST-GUEST READY\r\n"
    assert "no KVM" in called("vm log web-01", FakeService()).out


def test_the_log_of_the_run_before_is_asked_for() -> None:
    service = FakeService()
    assert called("vm log web-01 --previous", service).code == 0
    assert service.asked[-1][2:] == (False, "previous")


def test_defining_takes_options_and_what_follows_the_dashes(tmp_path: os.PathLike[str]) -> None:
    service = FakeService()
    ran = called("vm define new -m 2G --cpus 2 --accel tcg --forward 2222:22 -- -snapshot", service)
    assert ran.code == 0
    spec = service.asked[0][1]
    assert "memory=2048, cpus=2," in repr(spec)
    assert "accel=<Accel.TCG: 'tcg'>" in repr(spec)
    assert "forwards=((2222, 22),)" in repr(spec)
    assert "extra_args=('-snapshot',)" in repr(spec)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("vm define", "broker vm define NAME"),
        ("vm define x --memory lots", "512M or 2G"),
        ("vm define x --forward 22", "PORT:GUESTPORT"),
        ("vm define x --forward 1:70000", "ports go from 1 to 65535"),
        ("vm define x --accel kvn", "Did you mean kvm?"),
        ("vm define x --disk /no/such.qcow2", "There is no image /no/such.qcow2"),
        ("vm define x --disk /dev/null,bux=sata", "Did you mean bus?"),
        ("vm define x -f /no/such.yaml", "/no/such.yaml cannot be read"),
        ("vm start", "required: NAME"),
        ("vm start a --jsno", "Did you mean --json?"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(words: str, said: str) -> None:
    service = FakeService()
    ran = called(words, service)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert service.asked == []


def test_a_scan_says_whose_each_qemu_is_and_how_it_is_reached() -> None:
    theirs = replace(FOUND, pid=4712, name="win", owner="libvirt", why_not="libvirt looks after it")
    service = FakeService(found=[FOUND, theirs])
    table = called("vm scan", service).out
    assert "nobody's: adopt it" in table
    assert "qmp /run/vm.sock (held)" in table
    assert "libvirt's" in table
    rows = json.loads(called("vm scan --json", service).out)
    assert [(row["pid"], row["adoptable"], row["why_not"]) for row in rows] == [
        (4711, True, ""),
        (4712, False, "libvirt looks after it"),
    ]
    assert rows[0]["target"] == {
        "kind": "tcp", "host": "127.0.0.1", "port": 5910, "tls_port": None,
        "host_subject": None, "verified": False, "proxy": None,
    }  # fmt: skip


def test_an_adopted_vm_is_listed_as_seen_and_let_go_again() -> None:
    service = FakeService()
    adopted = called("vm adopt 4711 --name found --json", service)
    assert (adopted.code, json.loads(adopted.out)["adopted"]) == (0, True)
    assert "running (seen)" in called("vm list", service).out
    assert "running (seen)" in called("list", service).out
    deleted = called("vm delete found --yes", service)
    assert (deleted.code, "broker vm forget found" in deleted.err) == (2, True)
    assert called("vm forget found", service).code == 0
    assert [what[0] for what in service.asked] == ["adopt", "forget"]
    assert "found" not in called("vm list", service).out


def test_only_what_was_adopted_is_forgotten() -> None:
    ran = called("vm forget demo", FakeService())
    assert (ran.code, "broker vm delete demo" in ran.err) == (2, True)


def test_a_definition_is_written_with_what_it_lost(tmp_path: Path) -> None:
    service, file = FakeService(), tmp_path / "vm.yaml"
    assert called(f"vm adopt 4711 --name found --write {file}", service).code == 0
    text = file.read_text()
    assert text.startswith("# Made from a running QEMU. Not carried over:\n# -device foo")
    assert "name: found" in text
    assert called("vm adopt 1 --name two --write - ", service).out.endswith("autostart: false\n")
    both = called("vm adopt 1 --name three --json --write -", service)
    assert (both.code, service.asked[-1][0]) == (2, "as_definition")
