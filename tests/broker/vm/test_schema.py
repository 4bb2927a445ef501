from dataclasses import fields

import pytest

from broker.errors import ConfigError
from broker.model import (
    Accel,
    CloudInit,
    Disk,
    DiskBus,
    Display,
    Firmware,
    MachineId,
    MachineSpec,
    Network,
    Nic,
    SpicePort,
)
from broker.vm import schema

UUID = "6f4e2c1a-0000-4000-8000-000000000001"
FULL = MachineSpec(
    "web-01",
    MachineId(UUID),
    memory=2048,
    cpus=2,
    machine="pc-q35-7.2",
    cpu="host,-arch-capabilities",
    accel=Accel.KVM,
    firmware=Firmware.UEFI,
    secure_boot=True,
    tpm=True,
    disks=(
        Disk("/a b/ü,c.qcow2"),
        Disk("/o.qcow2", size=20 << 30, backing="/base.raw", backing_format="raw"),
        Disk("", "raw", DiskBus.NVME, size=12345),
        Disk("/b.img", "raw", DiskBus.SATA, snapshot=True, readonly=True),
    ),
    cdrom="/x.iso",
    floppy="empty",
    kernel="/vmlinuz",
    initrd="/initrd",
    append="console=ttyS0 a='b c'",
    display=Display.QXL,
    tablet=False,
    spice=SpicePort("::1", 5901),
    network=Network.USER,
    nic=Nic.E1000,
    mac="52:54:00:12:34:56",
    forwards=((2222, 22), (8080, 80)),
    serial=False,
    agent=False,
    usb_redirections=4,
    sound=True,
    cloud_init=CloudInit("#cloud-config\nusers:\n  - name: ü\n", meta_data="a: 1\n"),
    sandbox=False,
    env=(("TMPDIR", "/big"), ("A", "")),
    extra_args=("-device", "x,y=z", "no"),
    allow_insecure=True,
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
        ("disks: [{size: 1G, sise: 1}]", "disks.0.sise is not a setting", "Did you mean size?"),
        ("disks: [{size: 20}, {size: 1X}]", "disks.1.size is '1X': a size is a number with", ""),
        ("disks: [{bus: sata}]", "disks.0: a disk has a path, or a size or a backing", ""),
        ("disks: [{backing: /a}]", "disks.0: backing and backing_format belong together", ""),
        ("machine: microvm", "machine is 'microvm': string should match pattern", ""),
        ("secure_boot: true", "secure_boot needs firmware: uefi", ""),
        ("append: quiet", "initrd and append need a kernel", ""),
        ("network: bridge", "network: bridge needs an interface, its device on this host", ""),
        ("interface: br0", "interface needs network: tap or network: bridge", ""),
        ("spice: {tpc: 1}", "spice.tcp is missing; spice.tpc is not a setting", "Did you mean tcp"),
        ("spice: {tcp: x:y}", "spice.tcp is 'x:y': say auto, a port, or ADDRESS:PORT", ""),
        ("spice: {tcp: {prot: 1}}", "spice.tcp.prot is not a setting", "Did you mean port?"),
        ("cloud_init: {userdata: ''}", "cloud_init.userdata is not a", "Did you mean user_data?"),
        ("env: {A-B: x}", "env.A-B.[key] is 'A-B': string should match pattern", ""),
        ("vnc: true\nspice: {tcp: 1}", "spice and vnc exclude each other", ""),
        ("extra_args: [-vnc, ':0']", "extra_args: -vnc :0: its screen would be open", "Leave that"),
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


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("spice: {tcp: auto}", "spice", SpicePort()),
        ("spice: {tcp: 5901}", "spice", SpicePort(port=5901)),
        ("spice: {tcp: '0.0.0.0:5901'}", "spice", SpicePort("0.0.0.0", 5901)),
        ("spice: {tcp: '[::1]:5901'}", "spice", SpicePort("::1", 5901)),
        ("disks: [{size: 1 GiB}]", "disks", (Disk("", size=1 << 30),)),
        ("extra_args: [-vnc, ':0']\nallow_insecure: true", "extra_args", ("-vnc", ":0")),
        (
            "cloud_init: {user_data: {users: [default]}, meta_data: {a: 1}}",
            "cloud_init",
            CloudInit("#cloud-config\nusers:\n- default\n", meta_data="a: 1\n"),
        ),
    ],
)
def test_short_forms_are_understood(line: str, field: str, value: object) -> None:
    assert getattr(parse(f"name: a\nuuid: {UUID}\n{line}"), field) == value


def test_an_insecure_machine_made_in_code_is_refused_and_a_secret_not_repeated() -> None:
    spec = MachineSpec("a", MachineId(UUID), extra_args=("-spice", "password=hunter2"))
    with pytest.raises(ConfigError, match="everybody on this host can read") as caught:
        schema.check(spec)
    assert "hunter2" not in str(caught.value)


def test_text_of_several_lines_is_written_as_such() -> None:
    assert "user_data: |\n    #cloud-config\n    users:\n" in schema.render(FULL)


def test_the_exported_schema_knows_every_key_and_says_what_it_means() -> None:
    exported = schema.json_schema()
    keys = exported["properties"]
    assert isinstance(keys, dict)
    assert list(keys) == [field.name for field in fields(MachineSpec)]
    assert all(key["description"] for key in keys.values())
    assert exported["additionalProperties"] is False
    assert exported["required"] == ["name"]


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
