"""What is concluded from files alone; with a QEMU: tests/integration/test_vm_lifecycle.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker.model import State
from broker.vm import process, record
from broker.vm.look import STATES, Seen, look, tail
from broker.vm.paths import VmPaths

RUN = record.Run(pid=1, ticks=0, boot="", engine="TCG")
GONE = record.Run(pid=0x7FFFFFFF, ticks=0, boot=process.boot_id(), engine="TCG")


@pytest.fixture
def paths(broker_home: Path) -> VmPaths:
    made = VmPaths(broker_home / "run", broker_home / "data")
    made.run.mkdir(mode=0o700)
    return made


async def test_nothing_there_is_stopped(broker_home: Path) -> None:
    nowhere = VmPaths(broker_home / "none", broker_home / "none")
    assert await look("vm", nowhere) == Seen(State.STOPPED)


async def test_a_pidfile_nobody_holds_is_a_crash_with_last_words(paths: VmPaths) -> None:
    paths.pid.write_text("1\n")
    paths.qemu_log.write_text("console-broker: x\nqemu-system-x86_64: out of luck\n")
    assert await look("vm", paths) == Seen(
        State.CRASHED, "QEMU is gone without a farewell; its last words: out of luck"
    )


async def test_what_ran_before_the_host_restarted_is_stopped(paths: VmPaths) -> None:
    paths.pid.write_text("1\n")
    record.write(paths.running, RUN)
    assert await look("vm", paths) == Seen(State.STOPPED)


async def test_an_exit_code_that_was_seen_is_told_to_everybody(paths: VmPaths) -> None:
    record.write(paths.running, GONE)
    paths.exit.write_text(f"{GONE.pid} 134\n")
    assert await look("vm", paths) == Seen(State.CRASHED, "QEMU ended: killed by SIGABRT")


async def test_an_exit_code_of_another_process_is_not_ours(paths: VmPaths) -> None:
    record.write(paths.running, GONE)
    paths.exit.write_text("4711 1\n")
    assert await look("vm", paths) == Seen(State.STOPPED)


@pytest.mark.parametrize("content", ["", f"{0x7FFFFFFF}", f"{0x7FFFFFFF} x", "\0"])
async def test_a_damaged_exit_code_is_unknown(paths: VmPaths, content: str) -> None:
    record.write(paths.running, GONE)
    paths.exit.write_text(content)
    paths.pid.write_text("1\n")
    assert await look("vm", paths) == Seen(State.CRASHED, "QEMU is gone without a farewell")


async def test_a_good_code_after_a_panic_is_a_crash(paths: VmPaths) -> None:
    record.write(paths.running, replace(GONE, cause="guest-panic"))
    paths.exit.write_text(f"{GONE.pid} 0\n")
    assert (await look("vm", paths)).state is State.CRASHED


async def test_a_good_end_is_stopped(paths: VmPaths) -> None:
    record.write(paths.running, GONE)
    paths.exit.write_text(f"{GONE.pid} 0\n")
    assert await look("vm", paths) == Seen(State.STOPPED)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b'{"no": 1}'])
async def test_a_damaged_record_is_no_record(paths: VmPaths, content: bytes) -> None:
    paths.running.write_bytes(content)
    assert await look("vm", paths) == Seen(State.STOPPED)


def test_every_run_state_of_qemu_has_a_meaning() -> None:
    words = "running paused prelaunch suspended shutdown inmigrate finish-migrate postmigrate colo"
    more = "save-vm restore-vm io-error internal-error guest-panicked watchdog debug"
    assert set(STATES) == {*words.split(), *more.split()}


def test_trouble_always_has_a_reason() -> None:
    trouble = {State.CRASHED, State.ERROR}
    assert all(reason for state, reason in STATES.values() if state in trouble)


def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first line\nsecond\nthird\n")
    assert (tail(log, 16), tail(log), tail(tmp_path / "none")) == (
        "second\nthird\n",
        "first line\nsecond\nthird\n",
        "",
    )
