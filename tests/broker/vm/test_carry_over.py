"""A command line as a definition: what goes along, and what is told to be lost."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from broker.model import (
    Accel,
    CarriedOver,
    Disk,
    DiskBus,
    Display,
    Firmware,
    MachineSpec,
    Network,
    Nic,
)
from broker.vm import schema
from broker.vm.carry_over import carry_over
from broker.vm.cmdline import understand
from broker.vm.process import Process
from broker.vm.scan import Owner, Qemu


def carried(text: str, directory: Path | None = Path("/srv")) -> CarriedOver:
    line = understand(["qemu-system-x86_64", *shlex.split(text)])
    made = carry_over(
        Qemu(Process(1, 1), 0, "qemu", line, Owner.HAND, directory=directory), "web-01"
    )
    schema.check(made.spec)
    return made


def spec(text: str) -> MachineSpec:
    made = carried(text)
    assert made.lost == ()
    return made.spec


def test_a_usual_script_is_carried_over_whole() -> None:
    made = spec(
        "-name web-01 -uuid 6f4e2c1a-0000-4000-8000-000000000001 -machine q35,accel=kvm -m 4G"
        " -smp sockets=1,cores=4 -drive file=a.qcow2,format=qcow2,if=virtio,snapshot=on"
        " -cdrom /iso/x.iso -nic user,hostfwd=tcp:127.0.0.1:2222-:22 -vga qxl -cpu host"
        " -device qemu-xhci -device usb-tablet -device virtio-serial-pci -chardev spicevmc,id=vd"
        " -device virtserialport,chardev=vd,name=com.redhat.spice.0 -rtc base=localtime"
        " -device virtio-rng-pci -spice port=5900,password=hush -qmp unix:/q,server=on -daemonize"
        " -serial stdio -audiodev spice,id=a -device intel-hda -device hda-duplex,audiodev=a"
    )
    assert made == MachineSpec(
        "web-01",
        made.uuid,
        memory=4096,
        cpus=4,
        accel=Accel.KVM,
        disks=(Disk("/srv/a.qcow2", "qcow2", DiskBus.VIRTIO, snapshot=True),),
        cdrom="/iso/x.iso",
        display=Display.QXL,
        network=Network.USER,
        nic=Nic.E1000E,
        forwards=((2222, 22),),
        serial=True,
        agent=True,
        usb_redirections=0,
        sound=True,
        extra_args=("-cpu", "host", "-rtc", "base=localtime", "-device", "virtio-rng-pci"),
    )
    assert made.uuid == "6f4e2c1a-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("-drive file=/a,format=raw", Disk("/a", "raw", DiskBus.SATA)),
        ("-drive file=/a,format=raw,if=floppy", Disk("/a", "raw", DiskBus.FLOPPY)),
        ("-drive file=/a,,b,format=raw,if=virtio", Disk("/a,b", "raw")),
        ("-drive file=/a,format=raw,if=none,id=d -device ide-hd,drive=d",
         Disk("/a", "raw", DiskBus.SATA)),
        ("-drive file=/a,format=raw,if=none,id=d,readonly=on -device virtio-blk-pci,drive=d",
         Disk("/a", "raw", readonly=True)),
        ("-blockdev driver=file,node-name=f,filename=/a -blockdev driver=qcow2,node-name=d,file=f"
         " -device virtio-blk-pci,drive=d", Disk("/a", "qcow2")),
        ('-blockdev \'{"driver": "qcow2", "node-name": "d", "file": {"driver": "file",'
         ' "filename": "/a"}}\' -device virtio-blk-pci,drive=d', Disk("/a", "qcow2")),
        ("-device virtio-scsi-pci,id=s -drive file=/a,format=raw,if=none,id=d"
         " -device scsi-hd,drive=d,bus=s.0", Disk("/a", "raw", DiskBus.SCSI)),
        ("-drive file=/a,format=raw,if=none,id=d -device nvme,drive=d,serial=1",
         Disk("/a", "raw", DiskBus.NVME)),
        ("-drive file=/a,format=raw,if=none,id=d -device usb-storage,drive=d",
         Disk("/a", "raw", DiskBus.USB)),
        ("-snapshot -drive file=/a,format=raw,if=virtio", Disk("/a", "raw", snapshot=True)),
    ],
)  # fmt: skip
def test_a_disk_in_all_its_forms(text: str, disk: Disk) -> None:
    assert spec(text).disks == (disk,)


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("", "pc"),
        ("-accel kvm", "pc"),
        ("-M pc-i440fx-7.2,accel=tcg", "pc-i440fx-7.2"),
        ("-machine type=q35", "q35"),
        ("-M q35 -machine accel=kvm", "q35"),
    ],
)
def test_the_machine_is_the_one_that_ran(text: str, machine: str) -> None:
    assert spec(text).machine == machine


MAC = "52:54:00:00:00:0a"


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("", (Network.USER, None, Nic.E1000, None)),
        ("-M q35", (Network.USER, None, Nic.E1000E, None)),
        ("-nic none", (Network.NONE, None, Nic.VIRTIO, None)),
        ("-nodefaults", (Network.NONE, None, Nic.VIRTIO, None)),
        (f"-nic user,model=rtl8139,mac={MAC}", (Network.USER, None, Nic.RTL8139, MAC)),
        (f"-net nic,model=virtio,macaddr={MAC} -net user", (Network.USER, None, Nic.VIRTIO, MAC)),
        (f"-netdev tap,id=n,ifname=t0,script=no -device e1000e,netdev=n,mac={MAC.upper()}",
         (Network.TAP, "t0", Nic.E1000E, MAC)),
        ("-netdev bridge,id=n -device virtio-net-pci,netdev=n",
         (Network.BRIDGE, "br0", Nic.VIRTIO, None)),
        ("-device e1000,netdev=n -netdev bridge,id=n,br=lan",
         (Network.BRIDGE, "lan", Nic.E1000, None)),
    ],
)  # fmt: skip
def test_a_network_in_all_its_forms(
    text: str, network: tuple[Network, str | None, Nic, str | None]
) -> None:
    made = spec(text)
    assert (made.network, made.interface, made.nic, made.mac) == network


@pytest.mark.parametrize(("machine", "most"), [("pc", 3), ("q35", 5)])
def test_disks_that_the_machine_has_no_room_for_are_told(machine: str, most: int) -> None:
    drives = " ".join(f"-drive file=/{n},format=raw,index={n}" for n in range(6))
    made = carried(f"-M {machine} {drives}")
    assert len(made.spec.disks) == most
    assert [line for line in made.lost if "no room" in line] == [
        f"/{n}: there is no room for another one of its kind" for n in range(most, 6)
    ]


def test_a_format_that_was_not_said_is_told_by_the_first_bytes(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(b"QFI\xfb" + bytes(60))
    made = carried(f"-hda {image}")
    assert made.spec.disks == (Disk(str(image), "qcow2", DiskBus.SATA),)
    assert made.lost == (f"{image}: its format was not said; by its first bytes it is qcow2",)


def test_firmware_of_files_is_uefi_and_its_variables_are_told_to_be_lost() -> None:
    made = carried(
        "-drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
        " -drive if=pflash,format=raw,file=/srv/VARS.fd"
    )
    assert (made.spec.firmware, made.spec.disks) == (Firmware.UEFI, ())
    assert made.lost == ("/srv/VARS.fd: a copy of the firmware's variables is made anew",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-machine microvm", "a definition's machine is q35 or pc"),
        ("-netdev socket,id=n,connect=:1 -device e1000,netdev=n", "network is user, tap or bridge"),
        ("-netdev tap,id=n,fd=3 -device e1000,netdev=n", "nothing says which device"),
        ("-nic tap,ifname=t0", "the script that sets its tap device up is not run"),
        ("-nic user -nic bridge", "a definition has one network"),
        ("-nic user -device e1000", "a definition has one network card"),
        ("-device vmxnet3", "the nearest network card is e1000"),
        ("-device scsi-generic,drive=x", "it hangs on something else"),
        ("-drive file=nbd:localhost:10809,format=raw", "an image that is no file of this host"),
        ("-incoming tcp:0:4444", "a definition has no word for it"),
        ("-vga cirrus", "the nearest graphics card is std"),
        ("-nic user,hostfwd=udp::53-:53", "only TCP ports"),
    ],
)
def test_what_cannot_go_along_is_told(text: str, words: str) -> None:
    lost = carried(text).lost
    assert [line for line in lost if words in line] != []


def test_a_secret_never_goes_along() -> None:
    made = carried("-object secret,id=s,data=hush -iscsi user=joe,password=hush -cpu max")
    assert "hush" not in schema.render(made.spec) + "".join(made.lost)
    assert made.spec.extra_args == ("-cpu", "max")
    assert len(made.lost) == 2


def test_paths_of_one_that_went_to_the_background_cannot_be_known() -> None:
    made = carried("-drive file=a.qcow2,format=qcow2 -kernel vmlinuz", directory=None)
    assert (made.spec.disks, made.spec.extra_args) == ((), ())
    assert len(made.lost) == 2


def test_a_name_that_no_definition_may_have_is_changed_and_told() -> None:
    line = understand(["qemu-system-x86_64"])
    made = carry_over(Qemu(Process(1, 1), 0, "qemu", line, Owner.HAND), "Windows 10 (old)")
    assert made.spec.name == "Windows-10-old"
    assert made.lost == (
        "Its name: 'Windows 10 (old)' is none for a definition, so it is Windows-10-old",
    )
