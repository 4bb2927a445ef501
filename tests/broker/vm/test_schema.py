from dataclasses import fields

import pytest

from broker.errors import ConfigError
from broker.model import (
    Accel,
    Disk,
    DiskBus,
    Display,
    Firmware,
    MachineId,
    MachineSpec,
    Network,
)
from broker.vm import schema

UUID = "6f4e2c1a-0000-4000-8000-000000000001"
FULL = MachineSpec(
    "web-01",
    MachineId(UUID),
    memory=2048,
    cpus=2,
    accel=Accel.KVM,
    firmware=Firmware.UEFI,
    disks=(
        Disk("/a b/ü,c.qcow2"),
        Disk("/b.img", "raw", DiskBus.SATA, snapshot=True, readonly=True),
    ),
    cdrom="/x.iso",
    display=Display.QXL,
    network=Network.USER,
    forwards=((2222, 22), (8080, 80)),
    serial=False,
    agent=False,
    usb_redirections=4,
    sound=True,
    extra_args=("-device", "x,y=z", "no"),
)


def parse(text: str) -> MachineSpec:
    return schema.parse(text, where="vm.yaml")


@pytest.mark.parametrize("spec", [FULL, MachineSpec("a", MachineId(UUID))], ids=["full", "bare"])
def test_what_is_rendered_is_read_back(spec: MachineSpec) -> None:
    assert parse(schema.render(spec)) == spec


def test_every_field_of_a_spec_is_in_the_file() -> None:
    assert list(schema.plain(FULL)) == [field.name for field in fields(MachineSpec)]


def test_defaults_are_those_of_the_noun() -> None:
    assert parse(f"name: a\nuuid: {UUID}") == MachineSpec("a", MachineId(UUID))


def test_a_uuid_is_made_lower_case() -> None:
    assert parse(f"name: a\nuuid: {UUID.upper()}").uuid == UUID


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("memroy: 1", "memroy is not a setting", "Did you mean memory?"),
        ("zzz: 1", "zzz is not a setting", "Settings are: name, uuid,"),
        ("memory: 0", "memory is 0: input should be greater than or equal to 1", ""),
        ("memory: 2G", "memory is '2G': input should be a valid integer", ""),
        ("accel: hvf", "accel is 'hvf': input should be 'auto', 'kvm' or 'tcg'", ""),
        ("cdrom: x.iso", "cdrom is 'x.iso': a path here begins with /", ""),
        ("disks: [{path: a}]", "disks.0.path is 'a': a path here begins with /", ""),
        ("disks: [{path: /a, buss: sata}]", "disks.0.buss is not a setting", "Did you mean bus?"),
        (
            f"disks: [{', '.join(['{path: /a, bus: floppy}'] * 3)}]",
            "disks: a machine has room for 2 floppy disks",
            "",
        ),
        ("forwards: ['22']", "forwards.0 is '22': a forward is PORT:GUESTPORT", ""),
        ("forwards: ['70000:22']", "forwards.0.0 is 70000: input should be less than", ""),
        ("uuid: abc", "uuid is 'abc': a uuid looks like", ""),
        ("name: ../etc", "name is '../etc': a name has 1 to 63 letters", ""),
        ("name: ''", "name is '': a name has", ""),
        ("usb_redirections: 99", "usb_redirections is 99", ""),
        ("extra_args: -foo", "extra_args is '-foo': input should be a valid tuple", ""),
    ],
)
def test_each_mistake_is_named_with_its_place(line: str, what: str, fix: str) -> None:
    key = line.partition(":")[0]
    base = "".join(
        f"{name}: {value}\n" for name, value in (("name", "a"), ("uuid", UUID)) if name != key
    )
    with pytest.raises(ConfigError) as caught:
        parse(base + line)
    assert caught.value.what.startswith(f"vm.yaml: {what}")
    assert caught.value.fix.startswith(fix or "Mend it")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"name is missing; uuid is missing; cpus is 0"):
        parse("cpus: 0")


@pytest.mark.parametrize("text", ["- a", "", "just words"])
def test_what_is_no_mapping_is_no_machine(text: str) -> None:
    with pytest.raises(ConfigError, match=r"vm\.yaml does not describe a machine"):
        parse(text)


def test_broken_yaml_is_said_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"vm\.yaml is not YAML: .*line 2"):
        parse("name: a\n  b: [")
