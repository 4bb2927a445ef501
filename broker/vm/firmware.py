"""UEFI firmware of this host, and a VM's own copy of its variables."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from broker.errors import VmStartFailed
from broker.vm.argv import UefiFiles
from broker.vm.paths import VmPaths, cannot_use, make_private

PAIRS: Final = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
)
"""Code and variables of one size each: Debian's two, Fedora's, Arch's, QEMU's own."""


def uefi_files(name: str, paths: VmPaths) -> UefiFiles:
    """The firmware for the VM called `name`; its variables are made on first use and then kept.

    Raises:
        VmStartFailed: This host has no UEFI firmware.
        StoreError: The copy cannot be written.
    """
    for code, template in PAIRS:
        if Path(code).is_file() and Path(template).is_file():
            _copy_once(Path(template), paths.uefi_vars)
            return UefiFiles(Path(code), paths.uefi_vars)
    raise VmStartFailed(
        f"{name}: there is no UEFI firmware on this host",
        fix="Install it: apt install ovmf, dnf install edk2-ovmf; or define it with firmware: bios",
    )


def _copy_once(template: Path, copy: Path) -> None:
    if copy.exists():
        return
    make_private(copy.parent)
    scratch = copy.with_name(f".{copy.name}.{os.getpid()}")
    try:
        shutil.copyfile(template, scratch)
        scratch.chmod(0o600)
        scratch.replace(copy)
    except OSError as exc:
        scratch.unlink(missing_ok=True)
        raise cannot_use(copy, exc) from exc
