"""The local driver without a QEMU: options, definitions, what is off. With one: test_vm_driver."""

import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from broker.driver import (
    Driver,
    DriverContext,
    KeptConsoles,
    LogKeeper,
    PowerControl,
    Provisioner,
)
from broker.errors import ConfigError, NoConsole, NotFound, UsageError
from broker.model import (
    Disk,
    Display,
    HandOverTarget,
    Machine,
    MachineId,
    MachineKey,
    MachineSpec,
    Network,
    Protocol,
    SourceName,
    State,
)
from sources.local import LocalDriver

HERE = SourceName("here")
SPEC = MachineSpec("web-01", MachineId(str(uuid.UUID(int=1))), network=Network.NONE)


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    for name in ("config", "data", "runtime"):
        (tmp_path / name).mkdir(mode=0o700)
    return DriverContext(tmp_path / "config", tmp_path / "data", tmp_path / "runtime")


@pytest.fixture
def driver(context: DriverContext) -> LocalDriver:
    return LocalDriver.from_options(HERE, {}, context)


def test_it_can_do_all_that_a_driver_may(driver: LocalDriver) -> None:
    checked: Driver = driver
    assert checked.type == "local"
    for ability in (PowerControl, Provisioner, LogKeeper, KeptConsoles):
        assert isinstance(driver, ability)


def test_an_unknown_option_is_refused_with_the_nearest(context: DriverContext) -> None:
    with pytest.raises(ConfigError, match="here: qmeu is not a setting") as caught:
        LocalDriver.from_options(HERE, {"qmeu": "x"}, context)
    assert caught.value.fix == "Did you mean qemu?"


@pytest.mark.parametrize("value", [3, "", None, ["qemu"]])
def test_an_emulator_that_is_no_name_is_refused(context: DriverContext, value: object) -> None:
    with pytest.raises(ConfigError, match="not the name or path of an emulator"):
        LocalDriver.from_options(HERE, {"qemu": value}, context)


async def test_nothing_defined_is_no_machines(driver: LocalDriver) -> None:
    assert list(await driver.machines()) == []


async def test_a_defined_machine_is_listed_off_with_its_target(
    driver: LocalDriver, context: DriverContext
) -> None:
    await driver.define(SPEC)
    (machine,) = await driver.machines()
    assert isinstance(machine.target, HandOverTarget)
    assert machine == Machine(
        MachineKey(HERE, SPEC.uuid),
        "web-01",
        State.STOPPED,
        hypervisor="localhost",
        hypervisor_ip="127.0.0.1",
        target=machine.target,
        defined=True,
    )
    assert Path(machine.target.control_path).is_relative_to(context.runtime_dir / "vms")
    assert machine.target.control_path.endswith("/ctl.sock")


async def test_no_machine_needs_a_ticket(driver: LocalDriver) -> None:
    await driver.define(SPEC)
    assert driver.kept_tickets() == {}


async def test_what_was_defined_is_told_again(driver: LocalDriver) -> None:
    await driver.define(SPEC)
    assert await driver.spec(SPEC.uuid) == SPEC


async def test_another_driver_of_the_same_place_sees_the_same(
    driver: LocalDriver, context: DriverContext
) -> None:
    await driver.define(SPEC)
    other = LocalDriver.from_options(HERE, {}, context)
    assert await other.machines() == await driver.machines()


async def test_a_missing_image_is_refused_when_defining(driver: LocalDriver) -> None:
    with pytest.raises(UsageError, match=r"/no/such\.qcow2 cannot be used: No such file") as caught:
        await driver.define(replace(SPEC, disks=(Disk("/no/such.qcow2"),)))
    assert "give it a size" in caught.value.fix
    assert list(await driver.machines()) == []


async def test_a_directory_is_no_image(driver: LocalDriver) -> None:
    with pytest.raises(UsageError, match="is not a disk image"):
        await driver.define(replace(SPEC, cdrom="/tmp"))


async def test_a_console_that_is_off_says_how_to_start_it(driver: LocalDriver) -> None:
    await driver.define(SPEC)
    with pytest.raises(NoConsole, match="web-01 is stopped") as caught:
        await driver.console(SPEC.uuid)
    assert caught.value.fix == "Start it: broker vm start web-01"


async def test_a_machine_without_a_display_has_no_console(driver: LocalDriver) -> None:
    await driver.define(replace(SPEC, display=Display.NONE))
    (machine,) = await driver.machines()
    assert (machine.protocol, machine.target) == (Protocol.NONE, None)
    with pytest.raises(NoConsole, match="has no display"):
        await driver.console(SPEC.uuid)


@pytest.mark.parametrize("verb", ["console", "start", "kill", "spec", "delete", "log"])
async def test_an_unknown_machine_is_not_found(driver: LocalDriver, verb: str) -> None:
    with pytest.raises(NotFound):
        await getattr(driver, verb)(MachineId("nobody"))


async def test_switching_off_what_is_off_is_no_error(driver: LocalDriver) -> None:
    await driver.define(SPEC)
    await driver.stop(SPEC.uuid, timeout=1)
    await driver.kill(SPEC.uuid)


async def test_a_machine_that_never_ran_has_an_empty_log(driver: LocalDriver) -> None:
    await driver.define(SPEC)
    assert (await driver.log(SPEC.uuid), await driver.log(SPEC.uuid, serial=True)) == ("", "")


async def test_a_broken_definition_is_shown_and_harms_no_other(
    driver: LocalDriver, context: DriverContext
) -> None:
    await driver.define(SPEC)
    await driver.define(replace(SPEC, name="web-02", uuid=MachineId(str(uuid.UUID(int=2)))))
    file = context.data_dir / "vms" / "web-01" / "machine.yaml"
    file.write_text(f"name: web-01\nuuid: {SPEC.uuid}\nmemroy: 1\n")
    broken, sound = await driver.machines()
    assert (broken.key.uuid, broken.state, sound.state) == (SPEC.uuid, State.ERROR, State.STOPPED)
    assert broken.reason == f"{file}: memroy is not a setting. Did you mean memory?"
    assert driver.warnings == (f"{file}: memroy is not a setting",)
    with pytest.raises(ConfigError, match="memroy"):
        await driver.start(SPEC.uuid)
    await driver.stop(SPEC.uuid, timeout=1)


async def test_a_deleted_machine_is_gone_and_its_name_free(
    driver: LocalDriver, context: DriverContext
) -> None:
    await driver.define(SPEC)
    await driver.delete(SPEC.uuid)
    assert list(await driver.machines()) == []
    assert list((context.runtime_dir / "vms").iterdir()) == []
    await driver.define(SPEC)


async def test_deleting_with_disks_takes_only_its_own_directory(
    driver: LocalDriver, context: DriverContext, tmp_path: Path
) -> None:
    outside = tmp_path / "disk.qcow2"
    outside.write_text("")
    await driver.define(replace(SPEC, disks=(Disk(str(outside)),)))
    own = context.data_dir / "vms" / "web-01"
    (own / "disk.qcow2").write_text("")
    await driver.delete(SPEC.uuid, keep_disks=False)
    assert (own.exists(), outside.exists()) == (False, True)


def test_importing_it_loads_neither_pydantic_nor_yaml() -> None:
    heavy = "{'pydantic', 'yaml', 'broker.vm.instance'} & set(sys.modules)"
    code = f"import sys, sources.local; print({heavy} or 'none')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "none"
