"""Starting a VM with a real QEMU: what works, and how it fails."""

import os
import shutil
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import BrokerError, VmStartFailed
from broker.model import Accel, Disk, DiskBus, Display, Firmware, Network, State
from broker.vm import probe, tries
from broker.vm.instance import Instance
from broker.vm.look import tail
from tests.guests import QEMU, Guest, Home, needs_qemu, qmp, running_guest

pytestmark = [pytest.mark.qemu, needs_qemu]


async def failure_of(instance: Instance) -> BrokerError:
    """How it does not start. Nothing may be left running."""
    with pytest.raises(BrokerError) as caught:
        await instance.start()
    assert (await instance.look()).state is State.STOPPED
    return caught.value


def environment_of(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_machine_with_everything_starts(home: Home) -> None:
    floppy = home.image("floppy.img", bytes(1474560))
    empty = home.image("a,b.img", bytes(1024 * 1024))
    spec = replace(
        home.spec(),
        cpus=2,
        display=Display.QXL,
        disks=(
            Disk(str(home.image()), "raw", DiskBus.VIRTIO, readonly=True),
            Disk(str(empty), "raw", DiskBus.SATA),
            Disk(str(floppy), "raw", DiskBus.FLOPPY),
        ),
        cdrom=str(home.image("cd.iso")),
        network=Network.USER,
        agent=True,
        usb_redirections=2,
        sound=True,
        extra_args=("-device", "virtio-rng-pci"),
    )
    async with running_guest(home, spec) as guest:
        spice = await qmp(guest.paths.qmp, "query-spice")
    assert isinstance(spice, dict)
    assert {key: spice.get(key) for key in ("enabled", "port", "channels")} == {
        "enabled": True,
        "port": None,
        "channels": [],
    }


async def test_one_told_to_wait_is_seen_as_waiting(home: Home) -> None:
    instance = home.instance(replace(home.spec(), extra_args=("-S",)))
    try:
        seen = await instance.start()
        assert seen is not None
        assert seen.state is State.PAUSED
    finally:
        await instance.kill()


async def test_asking_for_what_runs_changes_nothing(demo_guest: Guest) -> None:
    before = await demo_guest.instance.look()
    await demo_guest.instance.start()
    assert await demo_guest.instance.look() == before


async def test_nothing_of_the_vm_can_be_entered_by_others(demo_guest: Guest) -> None:
    paths = demo_guest.paths
    assert paths.run.stat().st_mode & 0o777 == 0o700
    assert paths.qemu_log.stat().st_mode & 0o777 == 0o600


async def test_the_command_line_is_in_the_log_and_settings_are_not_in_its_environment(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_SECRET", "swordfish")
    async with running_guest(home) as guest:
        seen = await guest.instance.look()
        environment = environment_of(seen.pid)
        command = tail(guest.paths.qemu_log)
    assert b"swordfish" not in environment
    assert "-name guest=demo" in command


@pytest.mark.skipif(not Path("/usr/share/OVMF").exists(), reason="no UEFI firmware here")
async def test_uefi_starts_with_variables_of_its_own(home: Home) -> None:
    instance = home.instance(firmware=Firmware.UEFI, memory=256)
    try:
        await instance.start()
        seen = await instance.look()
        kept = instance.paths.uefi_vars.stat()
    finally:
        await instance.kill()
    assert (seen.state, kept.st_mode & 0o777) == (State.RUNNING, 0o600)


async def test_a_missing_image(home: Home) -> None:
    spec = home.spec()
    missing = f"{home.root}/no,such.qcow2"
    problem = await failure_of(home.instance(spec, disks=(Disk(missing),)))
    assert problem.what.startswith(f"demo: its image {missing} does not exist")


async def test_a_locked_image(home: Home) -> None:
    disks = (Disk(str(home.image("shared.img")), "raw", DiskBus.SATA),)
    async with running_guest(home, replace(home.spec("first"), disks=disks)):
        problem = await failure_of(home.instance(home.spec("second"), disks=disks))
    assert "shared.img is used by another program" in problem.what


async def test_an_image_of_another_format(home: Home) -> None:
    problem = await failure_of(home.instance(disks=(Disk(str(home.image()), "qcow2"),)))
    assert "not in qcow2 format" in problem.what


async def test_a_forward_whose_port_is_taken(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problem = await failure_of(home.instance(network=Network.USER, forwards=((port, 22),)))
    assert f"tcp:127.0.0.1:{port}-:22 is taken" in problem.what


async def test_extra_arguments_that_qemu_does_not_know(home: Home) -> None:
    problem = await failure_of(home.instance(extra_args=("-bogus",)))
    assert problem.what == (
        'demo: QEMU does not understand its command line: "-bogus: invalid option"'
    )


async def test_a_failed_start_can_be_mended_and_tried_again(home: Home) -> None:
    spec = home.spec()
    await failure_of(home.instance(spec, extra_args=("-bogus",)))
    async with running_guest(home, spec) as guest:
        assert (await guest.instance.look()).state is State.RUNNING
        assert "invalid option" in tail(guest.paths.qemu_log.with_name("qemu.log.1"))


async def test_qemu_missing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home.root))
    problem = await failure_of(home.instance())
    assert problem.what == "demo: QEMU is not installed (no qemu-system-x86_64 on the PATH)"
    assert "apt install qemu-system-x86" in problem.fix


async def test_qemu_without_spice(home: Home) -> None:
    """The real QEMU, in a mount namespace where its SPICE module is not installed."""
    modules = Path("/usr/lib/x86_64-linux-gnu/qemu")
    if os.geteuid() != 0 or not (modules / "ui-spice-core.so").exists():
        pytest.skip("needs root, and SPICE as a module")
    bare = home.root / "modules"
    shutil.copytree(modules, bare, ignore=shutil.ignore_patterns("*spice*"))
    poor = script(
        home.root / "qemu-without-spice",
        f"exec unshare --mount sh -c"
        f' \'mount --bind {bare} {modules} && exec {QEMU} "$@"\' qemu "$@"',
    )
    if not probe._ask(poor, "--version"):
        pytest.skip("mount namespaces are not allowed here")
    instance = home.instance()
    problem = await failure_of(replace(instance, qemu=poor))
    assert problem.what.startswith("demo: this QEMU has no SPICE")
    assert not probe.spice(poor).usable


async def test_a_program_that_is_no_qemu(home: Home) -> None:
    instance = replace(
        home.instance(), qemu=script(home.root / "liar", "echo I am a teapot; exit 3")
    )
    problem = await failure_of(instance)
    assert problem.what == 'demo: QEMU ended at once (exit code 3): "I am a teapot"'


async def test_a_program_that_never_answers_is_ended(home: Home) -> None:
    instance = home.instance()
    mute = script(home.root / "mute", "exec sleep 1000")
    impatient = replace(instance.patience, start=0.3)
    with pytest.raises(VmStartFailed, match=r"did not answer in 0\.3 s"):
        await replace(instance, qemu=mute, patience=impatient).start()


async def test_kvm_that_opens_and_then_fails_is_followed_by_tcg_and_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "kvm", lambda: probe.Finding(usable=True, detail=""))
    fails = 'echo "error: failed to set MSR 0x10a to 0x69" >&2; kill -ABRT $$'
    fragile = script(
        home.root / "fragile", f'case "$*" in *accel=kvm*) {fails};; *) exec {QEMU} "$@";; esac'
    )
    instance = replace(home.instance(accel=Accel.AUTO), qemu=fragile)
    try:
        await instance.start()
        seen = await instance.look()
    finally:
        await instance.kill()
    assert (seen.state, seen.reason) == (
        State.RUNNING,
        "KVM failed, so it runs with TCG with CPU model max",
    )


async def test_kvm_that_fails_only_when_the_guest_runs_is_noticed_in_its_first_second(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QEMU that answers, and dies under KVM a moment later. KVM is TCG here."""
    monkeypatch.setattr(tries, "FIRST_SECONDS", 60.0)  # a busy machine's second is a long one
    monkeypatch.setattr(probe, "kvm", lambda: probe.Finding(usable=True, detail=""))
    body = f"""
    case "$*" in *accel=kvm*)
      (while ! test -S {home.runtime}/vms/*/qmp.sock; do sleep 0.01; done; sleep 0.3
       echo "error: kvm run failed Bad address" >&2; kill -ABRT $$) &
      ;;
    esac
    for word do
      shift
      case "$word" in q35,accel=kvm) word=q35,accel=tcg;; host) word=max;; esac
      set -- "$@" "$word"
    done
    exec {QEMU} "$@"
    """
    instance = replace(home.instance(accel=Accel.AUTO), qemu=script(home.root / "fragile", body))
    try:
        await instance.start()
        seen = await instance.look()
    finally:
        await instance.kill()
    assert (seen.state, seen.reason) == (
        State.RUNNING,
        "KVM failed, so it runs with TCG with CPU model max",
    )


async def test_a_cpu_model_that_failed_is_not_tried_first_again_until_the_other_fails(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QEMU whose CPU model `host` fails, and later, unseen, every other under KVM."""
    monkeypatch.setattr(probe, "kvm", lambda: probe.Finding(usable=True, detail=""))
    fails = 'echo "error: failed to set MSR 0x10a to 0x69" >&2; kill -ABRT $$'
    changed = home.root / "changed"
    # "KVM" is TCG here, so that this runs everywhere.
    body = f"""
    case "$*" in
      *accel=kvm*"-cpu host"*) test -e {changed} || {{ {fails}; }};;
      *accel=kvm*) test ! -e {changed} || {{ {fails}; }};;
    esac
    for word do
      shift
      case "$word" in q35,accel=kvm) word=q35,accel=tcg;; host) word=max;; esac
      set -- "$@" "$word"
    done
    exec {QEMU} "$@"
    """
    instance = replace(home.instance(accel=Accel.AUTO), qemu=script(home.root / "fragile", body))
    ways: list[list[str]] = []
    for number in range(4):
        if number == 2:
            changed.touch()
        try:
            await instance.start()
            assert (await instance.look()).reason == ""
        finally:
            await instance.kill()
        lines = tail(instance.paths.qemu_log).splitlines()
        tried = [line for line in lines if line.startswith("console-broker: ")]
        ways.append(["host" if " -cpu host " in line else "plain" for line in tried])
    assert ways == [["host", "plain"], ["plain"], ["plain", "host"], ["host"]]


async def test_kvm_that_was_asked_for_by_name_is_not_replaced(home: Home) -> None:
    fails = script(home.root / "fails", "echo failed to initialize kvm: No such device >&2; exit 1")
    problem = await failure_of(replace(home.instance(accel=Accel.KVM), qemu=fails))
    assert "KVM does not work here" in problem.what


async def test_auto_starts_whatever_this_host_can(home: Home) -> None:
    instance = home.instance(accel=Accel.AUTO)
    try:
        await instance.start()
        assert (await instance.look()).state is State.RUNNING
    finally:
        await instance.kill()
