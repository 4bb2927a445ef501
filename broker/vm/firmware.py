"""UEFI firmware of this host, and a VM's own copy of its variables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from broker import private_file
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

SECURE_PAIRS: Final = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
)
"""Code that demands signatures, and variables with the keys of Microsoft, which sign the loaders
of Windows and of the large Linux distributions: Debian's two, Fedora's."""


def uefi_files(name: str, paths: VmPaths, *, secure: bool = False) -> UefiFiles:
    """The firmware for the VM called `name`.

    Args:
        secure: It shall start signed systems only; such a VM has variables of their own, apart.

    Raises:
        VmStartFailed: This host has no such firmware.
    """
    for code, template in SECURE_PAIRS if secure else PAIRS:
        if Path(code).is_file() and Path(template).is_file():
            variables = paths.secure_uefi_vars if secure else paths.uefi_vars
            return UefiFiles(Path(code), variables, Path(template))
    if secure:
        raise VmStartFailed(
            f"{name}: there is no UEFI firmware with secure boot on this host",
            fix="Install it: apt install ovmf, dnf install edk2-ovmf; or leave out secure_boot",
        )
    raise VmStartFailed(
        f"{name}: there is no UEFI firmware on this host",
        fix="Install it: apt install ovmf, dnf install edk2-ovmf; or define it with firmware: bios",
    )


def write_variables(files: UefiFiles) -> None:
    """Make the VM's variables if it has none yet; they are kept from then on.

    Raises:
        StoreError: They cannot be written.
    """
    template, copy = files.template, files.variables
    if copy.exists():
        return
    make_private(copy.parent)
    try:
        private_file.write(copy, template.read_bytes())
    except OSError as exc:
        raise cannot_use(copy, exc) from exc
