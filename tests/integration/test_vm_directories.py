"""A runtime directory that is full or read-only, for real: a tmpfs in a mount namespace."""

import asyncio
import sys

import pytest

from broker.vm.definitions import Definitions
from tests.guests import Home, needs_qemu, qemus_of

pytestmark = [pytest.mark.qemu, needs_qemu]

START = """
import asyncio, sys
from pathlib import Path
from broker.errors import BrokerError
from broker.model import MachineId
from broker.vm.definitions import Definitions
from broker.vm.instance import Instance
from broker.vm.paths import VmPaths

async def main(root, uuid):
    spec = Definitions(root / "data").spec(MachineId(uuid))
    instance = Instance(spec, VmPaths.of(root / "runtime", root / "data", spec.name, spec.uuid))
    print((await instance.look()).state)
    try:
        await instance.start()
    except BrokerError as exc:
        print(exc.code)
        print(exc.what)
        print(exc.fix)
    print((await instance.look()).state)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""

FULL = (
    "mount -t tmpfs -o size=16k,mode=700 none $0"
    " && {{ cat /dev/zero > $0/fill 2>/dev/null; {run}; }}"
)
READ_ONLY = "mount -t tmpfs -o ro,mode=700 none $0 && {run}"


async def lines_of(*argv: str) -> list[str]:
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    return said.decode().splitlines()


@pytest.mark.parametrize(
    ("mount", "what", "fix"),
    [
        pytest.param(FULL, "cannot be used: No space left on device", "Free some space", id="full"),
        pytest.param(READ_ONLY, "cannot be used: Read-only file system", "remount", id="read-only"),
    ],
)
async def test_it_is_said_with_its_fix_and_nothing_is_left_running(
    home: Home, mount: str, what: str, fix: str
) -> None:
    if await lines_of("unshare", "--mount", "true"):
        pytest.skip("mount namespaces are not allowed here")
    instance = home.instance()
    Definitions(home.data).add(instance.spec)
    script = mount.format(run='exec "$@"')
    said = await lines_of(
        *("unshare", "--mount", "sh", "-c", script, str(home.runtime)),
        *(sys.executable, "-c", START, str(home.root), instance.spec.uuid),
    )
    before, code, fact, advice, after = said
    assert (before, code, after) == ("stopped", "store", "stopped")
    assert what in fact
    assert fix in advice
    assert qemus_of(instance) == []
