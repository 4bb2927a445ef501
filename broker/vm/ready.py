"""What a VM needs before its QEMU can start: firmware, disks to be made, a seed, a TPM, a port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from broker.errors import VmStartFailed
from broker.model import Firmware, MachineSpec
from broker.vm import firmware
from broker.vm.argv import UefiFiles
from broker.vm.paths import VmPaths


@dataclass(frozen=True, slots=True)
class Ready:
    """What was found out and made, for the command line.

    Attributes:
        wants_port: SPICE listens on a port, which is chosen for each try.
    """

    uefi: UefiFiles | None = None
    wants_port: bool = False


def plan(spec: MachineSpec, paths: VmPaths) -> Ready:
    """What its command line needs to know; nothing is made.

    Raises:
        VmStartFailed: This host has no such firmware.
    """
    uefi = None
    if spec.firmware is Firmware.UEFI:
        uefi = firmware.uefi_files(spec.name, paths, secure=spec.secure_boot)
    return Ready(uefi, wants_port=spec.spice is not None and not spec.vnc)


async def get_ready(spec: MachineSpec, paths: VmPaths) -> Ready:
    """Make what is to be made; the VM's lock is held.

    Raises:
        VmStartFailed: Firmware, a program or a file is missing.
        StoreError: A directory of ours cannot be used, or the disk is full.
    """
    ready = plan(spec, paths)
    if ready.uefi is not None:
        firmware.write_variables(ready.uefi)
    if any(disk.is_made for disk in spec.disks):
        from broker.vm.disks import make_missing

        await asyncio.to_thread(make_missing, spec, paths.data)
    if spec.cloud_init is not None:
        from broker.vm.seed import write_seed

        await asyncio.to_thread(write_seed, spec, paths)
    return ready


async def start_helpers(spec: MachineSpec, paths: VmPaths, env: Mapping[str, str]) -> None:
    """Start what each try of QEMU needs anew.

    Raises:
        VmStartFailed: swtpm is missing, or does not start.
        StoreError: Its directory cannot be made.
    """
    if spec.tpm:
        from broker.vm.tpm import start_tpm

        await start_tpm(spec.name, paths, env)


async def clear_up(spec: MachineSpec, paths: VmPaths) -> None:
    """End what `start_helpers` started, after a QEMU that did not come up."""
    if spec.tpm:
        from broker.vm.tpm import end_tpm

        await end_tpm(paths)


def free_port(spec: MachineSpec) -> int:
    """The port that SPICE shall listen on: the one that was asked for, or one that is free now.

    Raises:
        VmStartFailed: Its address is none of this host's.
    """
    assert spec.spice is not None
    if spec.spice.port:
        return spec.spice.port
    address = spec.spice.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    except OSError as exc:
        raise VmStartFailed(
            f"{spec.name}: SPICE cannot listen on {address}: {exc.strerror}",
            fix="Set spice.tcp.address to an address of this host, such as 127.0.0.1",
        ) from exc
