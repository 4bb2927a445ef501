from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from broker.model import Accel, Disk, DiskBus, Display, Firmware, MachineId, MachineSpec, Network
from broker.vm.argv import Engine, UefiFiles, build_argv
from broker.vm.paths import VmPaths

UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")
BARE = MachineSpec(
    "web-01", UUID, network=Network.NONE, serial=False, agent=False, usb_redirections=0
)
PATHS = VmPaths(run=Path("/run/vm"), data=Path("/data/vm"))
TCG = Engine(Accel.TCG)


def argv(spec: MachineSpec, engine: Engine = TCG, paths: VmPaths = PATHS) -> list[str]:
    return build_argv(spec, paths, engine=engine)


def values(spec: MachineSpec, option: str) -> list[str]:
    """What follows each `option` on the command line of `spec`."""
    line = argv(spec)
    return [value for key, value in pairwise(line) if key == option]


def test_a_bare_machine_whole() -> None:
    assert " ".join(argv(BARE)) == (
        "qemu-system-x86_64 -name guest=web-01,debug-threads=on"
        " -uuid 6f4e2c1a-0000-4000-8000-000000000001 -machine q35,accel=tcg -smp 1 -m 1024"
        " -nodefaults -no-user-config -display none"
        " -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
        " -pidfile /run/vm/pid"
        " -chardev socket,id=qmp,path=/run/vm/qmp.sock,server=on,wait=off"
        " -mon chardev=qmp,mode=control"
        " -chardev socket,id=ctl,path=/run/vm/ctl.sock,server=on,wait=off"
        " -mon chardev=ctl,mode=control"
        " -chardev socket,id=evt,path=/run/vm/evt.sock,server=on,wait=off"
        " -mon chardev=evt,mode=control"
        " -vga std -spice agent-mouse=on,seamless-migration=off"
        " -device qemu-xhci,id=usb -device usb-tablet,bus=usb.0 -serial none"
    )


@pytest.mark.parametrize(
    ("change", "option", "expected"),
    [
        pytest.param({"memory": 256}, "-m", ["256"], id="memory"),
        pytest.param({"cpus": 4}, "-smp", ["4"], id="cpus"),
        pytest.param({"display": Display.QXL}, "-vga", ["qxl"], id="qxl"),
        pytest.param({"display": Display.VIRTIO}, "-vga", ["virtio"], id="virtio"),
        pytest.param({"display": Display.NONE}, "-vga", ["none"], id="no display"),
        pytest.param(
            {"disks": (Disk("/a.qcow2"),)},
            "-drive",
            ["if=none,id=drive0,format=qcow2,file=/a.qcow2"],
            id="disk",
        ),
        pytest.param(
            {"disks": (Disk("/a,b.img", "raw", snapshot=True, readonly=True),)},
            "-drive",
            ["if=none,id=drive0,format=raw,file=/a,,b.img,snapshot=on,readonly=on"],
            id="disk with a comma, snapshot, readonly",
        ),
        pytest.param(
            {"disks": (Disk("/a"), Disk("/b", bus=DiskBus.SATA), Disk("/c", bus=DiskBus.FLOPPY))},
            "-device",
            [
                "qemu-xhci,id=usb",
                "usb-tablet,bus=usb.0",
                "virtio-blk-pci,drive=drive0,id=disk0,bootindex=1",
                "ide-hd,bus=ide.0,drive=drive1,id=disk1,bootindex=2",
                "isa-fdc,id=fdc,bootindexA=3",
                "floppy,bus=fdc.0,unit=0,drive=drive2",
            ],
            id="buses",
        ),
        pytest.param(
            {"cdrom": "/x.iso"},
            "-drive",
            ["if=none,id=cd0,media=cdrom,format=raw,readonly=on,file=/x.iso"],
            id="cdrom",
        ),
        pytest.param({"network": Network.NONE}, "-netdev", [], id="no network"),
        pytest.param({"network": Network.USER}, "-netdev", ["user,id=net0"], id="network"),
        pytest.param(
            {"network": Network.USER, "forwards": ((2222, 22), (8080, 80))},
            "-netdev",
            ["user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80"],
            id="forwards",
        ),
        pytest.param({"serial": True}, "-serial", ["chardev:serial0"], id="serial"),
        pytest.param({"sound": True}, "-audiodev", ["spice,id=sound0"], id="sound"),
    ],
)
def test_each_setting_has_its_argument(
    change: dict[str, object], option: str, expected: list[str]
) -> None:
    assert values(replace(BARE, **change), option) == expected  # type: ignore[arg-type]


def test_the_serial_port_has_a_socket_and_a_log() -> None:
    assert values(replace(BARE, serial=True), "-chardev")[-1] == (
        "socket,id=serial0,path=/run/vm/serial.sock,server=on,wait=off,logfile=/run/vm/serial.log"
    )


def test_agent_and_redirection_have_channels() -> None:
    assert values(replace(BARE, agent=True, usb_redirections=2), "-chardev")[3:] == [
        "spicevmc,id=agent0,name=vdagent",
        "spicevmc,id=redir0,name=usbredir",
        "spicevmc,id=redir1,name=usbredir",
    ]


def test_spice_has_no_listener_and_no_password() -> None:
    (spice,) = values(BARE, "-spice")
    assert not {"port", "tls-port", "addr", "password", "disable-ticketing"} & {
        option.partition("=")[0] for option in spice.split(",")
    }


def test_extra_arguments_come_last_as_they_are() -> None:
    assert argv(replace(BARE, extra_args=("-device", "a,b=c d")))[-2:] == ["-device", "a,b=c d"]


def test_commas_in_directories_are_doubled() -> None:
    odd = VmPaths(run=Path("/run/a,b"), data=Path("/data"))
    line = argv(replace(BARE, serial=True), paths=odd)
    assert [value for value in line if "/a,b/" in value] == ["/run/a,b/pid"]  # takes no options


def test_the_engine_names_accelerator_and_cpu() -> None:
    line = argv(BARE, Engine(Accel.KVM, "host"))
    assert "q35,accel=kvm" in line
    assert line[line.index("-cpu") + 1] == "host"


def test_uefi_reads_the_code_and_writes_its_own_variables() -> None:
    files = UefiFiles(Path("/fw/code.fd"), PATHS.uefi_vars, Path("/fw/vars.fd"))
    line = build_argv(replace(BARE, firmware=Firmware.UEFI), PATHS, engine=TCG, uefi=files)
    assert [value for value in line if "pflash" in value] == [
        "if=pflash,format=raw,unit=0,readonly=on,file=/fw/code.fd",
        "if=pflash,format=raw,unit=1,file=/data/vm/uefi-vars.fd",
    ]
