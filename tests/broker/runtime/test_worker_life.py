"""Whose process number it is: what a later process with the same number is not taken for."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from broker.runtime.worker_life import life_of, worker_alive


@pytest.fixture
def named() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose command line says that it is a relay worker."""
    with subprocess.Popen(
        ["/bin/sh", "-c", "read -r word", "broker.worker"], stdin=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def test_a_worker_lives_as_long_as_its_process(named: subprocess.Popen[bytes]) -> None:
    life = life_of(named.pid)
    assert worker_alive(named.pid, life)
    named.kill()
    named.wait()
    assert not worker_alive(named.pid, life)
    assert not worker_alive(named.pid, "")


def test_a_later_process_with_its_number_is_not_that_worker(
    named: subprocess.Popen[bytes],
) -> None:
    boot, ticks = life_of(named.pid).split("/")
    assert not worker_alive(named.pid, f"{boot}/{int(ticks) - 1}")
    assert not worker_alive(named.pid, f"another-boot/{ticks}")


def test_of_what_was_written_without_a_life_the_number_has_to_do() -> None:
    assert worker_alive(os.getpid(), "")
