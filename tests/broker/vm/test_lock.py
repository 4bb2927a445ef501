"""Turns at monitors; what the lock of an action does is tried in test_vm_survival."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from broker.vm import lock

OTHER = """
import asyncio, sys
from pathlib import Path
from broker.vm import lock

async def main():
    async with lock.turn(Path(sys.argv[1])):
        print("mine", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


async def has_turn(monitor: Path, seconds: float = 60) -> bool:
    """Whether nobody else has one; we give it back at once."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), lock.turn(monitor):
            return True
    return False


@pytest.fixture(params=[True, False], ids=["ours", "not ours"])
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if request.param:
        (tmp_path / lock.ACTION_FILE).touch()
    return tmp_path


async def test_another_process_has_its_turn_until_it_dies(directory: Path) -> None:
    monitor = directory / "qmp.sock"
    other = subprocess.Popen(  # noqa: ASYNC220 - it is awaited by its word
        [sys.executable, "-c", OTHER, str(monitor)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        assert not await has_turn(monitor, 0.2)
        other.kill()
    assert await has_turn(monitor)


async def test_the_monitors_of_a_vm_have_turns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / lock.ACTION_FILE
    async with lock.action(path, "vm", timeout=1), lock.turn(tmp_path / "qmp.sock"):
        assert await has_turn(tmp_path / "ctl.sock")
        assert not await has_turn(tmp_path / "qmp.sock", 0.2)
    assert await has_turn(tmp_path / "qmp.sock")


def test_nothing_is_left_behind(directory: Path) -> None:
    before = list(directory.iterdir())
    assert asyncio.run(has_turn(directory / "qmp.sock"))
    assert list(directory.iterdir()) == before


async def test_a_vm_that_is_gone_has_no_turns(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await has_turn(tmp_path / "gone" / "qmp.sock")
