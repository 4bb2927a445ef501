"""Looks at this host for `broker doctor`: what `service.doctor` puts in order."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import broker
from broker.clock import SystemClock
from broker.config.load import load_settings
from broker.config.locations import Locations
from broker.config.settings import Settings
from broker.errors import BrokerError, ViewerMissing
from broker.findings import Finding, broken, fine, odd
from broker.service.viewer import find_viewer, from_elsewhere, has_display
from broker.vm import probe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.model import ProxyStatus


INSTALLED = Path(broker.__file__)


class ThisHost:
    """The real host. One broken look does not stop the others."""

    def __init__(self) -> None:
        self._locations = Locations.from_env()

    def _settings(self) -> Settings:
        """Those that hold; the defaults while broker.yaml is broken."""
        try:
            return load_settings(self._locations).settings
        except BrokerError:
            return Settings()

    async def directories(self) -> Finding:
        """Ours are there, and ours alone."""
        await asyncio.to_thread(self._locations.prepare)
        return fine(
            f"state in {self._locations.state_dir}, sockets in {self._locations.runtime_dir}"
        )

    async def settings(self) -> Finding:
        """broker.yaml can be read."""
        loaded = await asyncio.to_thread(load_settings, self._locations)
        if loaded.warnings:
            return odd("; ".join(loaded.warnings), "See: broker config show")
        file = self._locations.broker_yaml
        there = await asyncio.to_thread(file.exists)
        return fine(f"{file} is fine" if there else "defaults; there is no broker.yaml")

    async def database(self) -> Finding:
        """It can be opened."""
        from broker.runtime.wiring import open_house

        async with open_house() as house:
            if house.store.notes:
                return odd("; ".join(house.store.notes), "See: broker config path database")
            return fine("shared" if house.settings.store.url else str(self._locations.database))

    async def clock(self) -> Finding:
        """The time of day can be right: not before this program was installed."""
        now = SystemClock().now().timestamp()
        installed = (await asyncio.to_thread(INSTALLED.stat)).st_mtime
        if now < installed:
            return broken(
                "it stands before the day this was installed, so tokens and certificates fail",
                "Set the clock: timedatectl set-ntp true",
            )
        return fine("it can be right")

    async def certificate(self) -> Finding:
        """The proxy's certificate is there or can be made."""
        from broker.runtime.certificate import certificate_for

        made = await asyncio.to_thread(certificate_for, self._locations, self._settings().proxy)
        return fine(made.host_subject)

    async def qemu(self) -> Finding:
        """There is an emulator."""
        path = probe.find_qemu(self._settings().vm.qemu)
        if path is None:
            return broken(f"no {self._settings().vm.qemu} on the PATH", probe.INSTALL_QEMU)
        found = await asyncio.to_thread(probe.emulator, path)
        return fine(f"{found.path} {found.version}".rstrip())

    async def spice(self) -> Finding:
        """The emulator has SPICE."""
        path = probe.find_qemu(self._settings().vm.qemu)
        if path is None:
            return broken("there is no QEMU to ask", probe.INSTALL_QEMU)
        found = await asyncio.to_thread(probe.spice, path)
        return fine(found.detail) if found.usable else broken(found.detail, found.fix)

    async def kvm(self) -> Finding:
        """Guests can run at full speed."""
        found = await asyncio.to_thread(probe.kvm)
        return fine(found.detail) if found.usable else odd(found.detail, found.fix)

    async def uefi(self) -> Finding:
        """There is firmware for UEFI guests."""
        from broker.vm.firmware import PAIRS

        return await asyncio.to_thread(_first_of, PAIRS)

    async def qemu_img(self) -> Finding:
        """Images can be looked at."""
        path = shutil.which("qemu-img")
        if path is None:
            return odd("it is not installed", "Install it: apt install qemu-utils")
        return fine(path)

    async def port(self) -> Finding:
        """A proxy serves, or could."""
        status = self._proxy_status()
        if status.serving:
            return fine(f"serving on {status.host}:{status.tls_port}, process {status.pid}")
        settings = self._settings().proxy
        try:
            with socket.create_server((settings.listen, settings.tls_port)):
                return fine(f"not serving; {settings.listen}:{settings.tls_port} is free for it")
        except OSError as exc:
            return broken(
                f"{settings.listen}:{settings.tls_port} cannot be listened on ({exc.strerror})",
                "Set proxy.tls_port to a free port and proxy.listen to an address of this host",
            )

    def _proxy_status(self) -> ProxyStatus:
        from broker.runtime.proxy_file import read_status

        return read_status(self._locations.proxy_json)

    async def viewer(self) -> Finding:
        """A viewer is installed."""
        try:
            return fine(" ".join(find_viewer(self._settings().viewer.command)))
        except ViewerMissing as exc:
            return odd(exc.what, exc.fix)

    async def display(self) -> Finding:
        """There is a screen to show it on."""
        if has_display():
            return fine("there is one")
        return odd(
            "neither DISPLAY nor WAYLAND_DISPLAY is set",
            from_elsewhere("NAME"),
        )


def _first_of(pairs: Iterable[tuple[str, str]]) -> Finding:
    for code, template in pairs:
        if Path(code).is_file() and Path(template).is_file():
            return fine(code)
    return odd(
        "there is no firmware for UEFI guests",
        "Install it: apt install ovmf, dnf install edk2-ovmf",
    )
