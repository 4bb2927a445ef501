"""A VM is called something else: what follows, what is refused, what a kill leaves."""

from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import ConfigError, UsageError
from broker.model import Disk, MachineId, MachineSpec
from broker.vm.definitions import RENAMED_FILE, Definitions
from broker.vm.paths import VmPaths
from broker.vm.renaming import rename

UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")


@pytest.fixture
def definitions(broker_home: Path) -> Definitions:
    return Definitions(broker_home / "data")


@pytest.fixture
def paths(broker_home: Path) -> VmPaths:
    return VmPaths.of(broker_home / "run", broker_home / "data", "old", UUID)


@pytest.fixture
def spec(definitions: Definitions, paths: VmPaths) -> MachineSpec:
    """One with a disk of its own and one elsewhere, and a path in an option of QEMU's."""
    own, other = Disk(str(paths.data / "disk0.qcow2")), Disk("/srv/old/disk1.qcow2")
    made = MachineSpec(
        "old", UUID, disks=(own, other), extra_args=("-fw_cfg", f"file={paths.data}/x")
    )
    definitions.add(made)
    (paths.data / "disk0.qcow2").write_bytes(b"disk")
    return made


async def test_files_and_the_paths_to_them_move_along(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    await rename(definitions, spec, "new", paths)
    (found,) = definitions.all()
    new = paths.data.with_name("new")
    assert found.spec == replace(
        spec,
        name="new",
        disks=(Disk(str(new / "disk0.qcow2")), spec.disks[1]),
        extra_args=("-fw_cfg", f"file={new}/x"),
    )
    assert ((new / "disk0.qcow2").read_bytes(), paths.data.exists()) == (b"disk", False)


async def test_its_own_name_is_no_error(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    await rename(definitions, spec, "old", paths)
    assert definitions.spec(UUID) == spec


async def test_a_name_that_is_taken_is_refused(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    other = MachineId("6f4e2c1a-0000-4000-8000-000000000002")
    definitions.add(MachineSpec("new", other))
    with pytest.raises(UsageError, match="There is a VM called new already"):
        await rename(definitions, spec, "new", paths)
    assert definitions.spec(UUID) == spec


async def test_what_a_deleted_vm_left_is_not_taken_over(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    left = paths.data.with_name("new")
    left.mkdir()
    (left / "disk0.qcow2").write_bytes(b"another's")
    with pytest.raises(UsageError, match="with files of another VM"):
        await rename(definitions, spec, "new", paths)
    assert (definitions.spec(UUID), (left / "disk0.qcow2").read_bytes()) == (spec, b"another's")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a" * 64])
async def test_what_is_no_name_is_refused(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths, name: str
) -> None:
    with pytest.raises(ConfigError, match="a name has 1 to 63"):
        await rename(definitions, spec, name, paths)


async def test_an_overlay_of_an_image_that_would_move_is_refused(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    base = str(paths.data / "base.img")
    overlay = replace(spec.disks[0], backing=base, backing_format="raw")
    with pytest.raises(UsageError, match="is an overlay of"):
        await rename(definitions, replace(spec, disks=(overlay,)), "new", paths)


async def test_a_broker_killed_in_between_has_renamed_it(
    definitions: Definitions,
    spec: MachineSpec,
    paths: VmPaths,
    monkeypatch: pytest.MonkeyPatch,
    broker_home: Path,
) -> None:
    move = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == RENAMED_FILE:
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            await rename(definitions, spec, "new", paths)
    for _ in range(2):
        (found,) = Definitions(broker_home / "data").all()
        assert (found.name, found.uuid, found.problem) == ("new", UUID, None)
    assert not (paths.data.with_name("new") / RENAMED_FILE).exists()
