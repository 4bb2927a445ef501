"""Several VMs by one command: names, patterns, a result for each, and one exit code."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.errors import BrokerError, NotFound, StoreError, Unreachable
from broker.model import Machine
from broker.runtime import emergency
from tests.broker.cli.calling import called, called_with
from tests.fakes.service import FakeService

SECONDS = 60.0


def names(service: FakeService, verb: str) -> list[str]:
    """What a verb was asked for, by name."""
    by_key = {row.machine.key: row.machine.name for row in service.rows}
    return [by_key[what[1]] for what in service.asked if what[0] == verb]  # type: ignore[index]


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "pause", "resume", "reset"])
def test_several_are_switched_each_with_a_line_of_its_own(verb: str) -> None:
    service = FakeService()
    ran = called(f"vm {verb} demo db-01", service)
    assert (ran.code, names(service, verb)) == (0, ["demo", "db-01"])
    assert [line.split()[0] for line in ran.out.splitlines()] == ["demo", "db-01"]


def test_a_pattern_stands_for_local_vms_only_and_for_each_once() -> None:
    service = FakeService()
    ran = called_with(["vm", "stop", "web-*", "here/*-01", "web-01"], service)
    assert (ran.code, names(service, "stop")) == (0, ["web-01", "web-02", "db-01"])


def test_one_that_fails_holds_up_no_other() -> None:
    service = FakeService()
    ran = called("vm start demo web-02 db-01", service)
    assert (ran.code, names(service, "start")) == (1, ["demo", "web-02", "db-01"])
    assert [line.split()[0] for line in ran.out.splitlines()] == ["demo", "db-01"]
    assert "Could not access KVM" in ran.err


def test_in_json_each_has_its_object_in_the_order_asked_for() -> None:
    ran = called("vm start demo web-02 nosuch --json", FakeService())
    rows = json.loads(ran.out)
    assert ran.code == 1
    assert [(row["name"], row.get("state"), row.get("error")) for row in rows] == [
        ("demo", "running", None),
        ("web-02", None, "vm-start-failed"),
        ("nosuch", None, "not-found"),
    ]


@pytest.mark.parametrize("words", ["vm start demo --json", "vm start here/demo --json"])
def test_one_plain_name_is_one_object(words: str) -> None:
    assert json.loads(called(words, FakeService()).out)["name"] == "demo"


def test_a_pattern_is_a_list_also_when_it_fits_one() -> None:
    ran = called("vm start dem* --json", FakeService())
    assert [row["name"] for row in json.loads(ran.out)] == ["demo"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("vm stop nosuch", 3, "There is no console nosuch"),
        ("vm stop x-*", 3, "No VM is called x-*"),
        ("vm stop x-* y-*", 3, "No VM is called y-*"),
        ("vm stop demo x-*", 3, "No VM is called x-*"),
        ("vm stop nosuch printer", 1, "debug/printer is not a VM of this host"),
        ("vm stop demo --no-wait --timeout 3", 2, "--timeout means nothing with --no-wait"),
        ("vm stop demo --no-wait --wait", 2, "not allowed with"),
    ],
)
def test_the_exit_code_fits_what_failed(words: str, code: int, said: str) -> None:
    ran = called(words, FakeService())
    assert ran.code == code
    assert said in ran.err


def test_failures_that_differ_are_a_plain_failure() -> None:
    service = FakeService()
    service.failing["kill"] = Unreachable("it does not answer")
    assert called("vm kill demo", service).code == 4
    assert called("vm kill demo web-01", service).code == 4
    assert called("vm kill demo nosuch", service).code == 1


def test_stopping_says_each_step_on_stderr() -> None:
    ran = called("vm stop demo", FakeService())
    assert "demo: pressing the power button" in ran.err
    assert ran.out.startswith("demo is stopped")


def test_not_waiting_leaves_it_as_it_is() -> None:
    ran = called("vm stop demo --no-wait", FakeService())
    assert (ran.code, ran.out) == (0, "demo is running (process 4001)\n")


def test_several_are_deleted_but_for_those_that_run() -> None:
    service = FakeService()
    ran = called("vm delete db-01 web-01 web-02 --yes --json", service)
    rows = json.loads(ran.out)
    assert ran.code == 2
    assert [(row["name"], row.get("deleted"), row.get("error")) for row in rows] == [
        ("db-01", True, None),
        ("web-01", None, "usage"),
        ("web-02", True, None),
    ]
    assert [row.machine.name for row in service.rows if row.machine.defined] == ["demo", "web-01"]


def test_a_vm_is_called_something_else() -> None:
    service = FakeService()
    ran = called("vm rename db-01 db-02", service)
    assert (ran.code, ran.out) == (0, "db-02 is stopped\n")
    assert service.asked[0][0::2] == ("rename", "db-02")


# --- a kill is not held up -----------------------------------------------------------------------


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> dict[str, Machine | BrokerError]:
    """What killing without the database comes to, by uuid."""
    found: dict[str, Machine | BrokerError] = {}

    async def kill(references: list[str]) -> list[tuple[str, Machine | BrokerError]]:
        return [(each, found.get(each, NotFound("no such VM here"))) for each in references]

    monkeypatch.setattr(emergency, "kill", kill)
    return found


LOCKED = StoreError("The database is locked by another program")


def test_a_kill_is_done_though_the_database_cannot_be_written(
    by_hand: dict[str, Machine | BrokerError],
) -> None:
    service = FakeService()
    service.failing["kill"] = LOCKED
    machine = service.named("demo").machine
    by_hand[machine.key.uuid] = machine
    ran = called("vm kill demo", service)
    assert (ran.code, ran.out.split()[0]) == (0, "demo")
    assert "killing without the database" in ran.err
    assert LOCKED.what in ran.err


def test_a_kill_that_fails_by_hand_too_says_why(
    by_hand: dict[str, Machine | BrokerError],
) -> None:
    service = FakeService()
    service.failing["kill"] = LOCKED
    by_hand[service.named("demo").machine.key.uuid] = Unreachable("The kernel holds it")
    ran = called("vm kill demo", service)
    assert (ran.code, "The kernel holds it" in ran.err) == (4, True)


@pytest.mark.usefixtures("by_hand")
def test_a_hypervisors_machine_is_not_looked_for_here() -> None:
    service = FakeService()
    service.failing["kill"] = LOCKED
    ran = called("vm kill demo db-01", service)
    assert ran.code == 1
    assert ran.err.count(LOCKED.what) == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_question_can_be_left(how: signal.Signals, tmp_path: Path) -> None:
    home = os.environ | {"BROKER_HOME": str(tmp_path), "TERM": "xterm"}
    broker = [sys.executable, "-c", "from broker.cli.main import entry; entry()", "vm"]
    subprocess.run([*broker, "define", "web"], env=home, check=True, timeout=SECONDS)
    master, slave = pty.openpty()
    asked = subprocess.Popen(
        [*broker, "delete", "web"], stdin=slave, stderr=slave, env=home, start_new_session=True
    )
    try:
        seen = b""
        while b"[y/N]" not in seen:
            assert select.select([master], [], [], SECONDS)[0], seen
            seen += os.read(master, 4096)
        asked.send_signal(how)
        assert asked.wait(SECONDS) == 130
    finally:
        asked.kill()
        asked.wait()
        os.close(master)
        os.close(slave)
    left = subprocess.run([*broker, "show", "web"], env=home, check=False, timeout=SECONDS)
    assert left.returncode == 0
