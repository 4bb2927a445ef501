"""What libvirt's XML says of a domain, and the XML that sets a password. Text in, nouns out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree

from broker.model import Protocol, State

WILDCARDS: Final = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

_STATES: Final = {
    1: State.RUNNING,
    2: State.RUNNING,
    3: State.PAUSED,
    4: State.BUSY,
    5: State.STOPPED,
    6: State.CRASHED,
    7: State.SUSPENDED,
}
_SHUTOFF: Final = 5
_SHUTOFF_CRASHED: Final = 3


@dataclass(frozen=True, slots=True)
class Spice:
    """The SPICE display of a domain.

    Attributes:
        index: Which of its graphics elements it is.
        port: None when it has none now.
        tls_port: The same.
        address: Where it listens; empty when that is not said, or it is no address.
        tls_only: It answers a channel without TLS with an error.
    """

    index: int
    port: int | None = None
    tls_port: int | None = None
    address: str = ""
    tls_only: bool = False


@dataclass(frozen=True, slots=True)
class Screens:
    """What a domain's XML says of its screens and ports."""

    spice: Spice | None = None
    vnc: bool = False
    serial: bool = False

    @property
    def protocol(self) -> Protocol:
        """What its console speaks; SPICE where it has both."""
        if self.spice is not None:
            return Protocol.SPICE
        return Protocol.VNC if self.vnc else Protocol.NONE


def state_of(state: int, reason: int = 0) -> State:
    """Libvirt's number as our word."""
    if (state, reason) == (_SHUTOFF, _SHUTOFF_CRASHED):
        return State.CRASHED
    return _STATES.get(state, State.UNKNOWN)


def screens_of(xml: str) -> Screens:
    """What that domain has.

    Raises:
        ValueError: It is no XML of a domain.
    """
    devices = _devices(xml)
    spice, vnc = None, False
    for index, each in enumerate(devices.findall("graphics")):
        if each.get("type") == "spice" and spice is None:
            spice = _spice(index, each)
        vnc |= each.get("type") == "vnc"
    serial = devices.find("console") is not None or devices.find("serial") is not None
    return Screens(spice, vnc, serial)


def with_password(secure_xml: str, index: int, password: str, until: datetime) -> str | None:
    """The graphics element of a running domain with a password good until then.

    None when it was started without one: it lets everybody in, and QEMU takes none any more.

    Everything else stays as it was: libvirt refuses any other change. Who is connected stays so.

    Args:
        secure_xml: The domain's XML, read with VIR_DOMAIN_XML_SECURE.
        until: To the second.

    Raises:
        ValueError: There is no such element.
    """
    found = _devices(secure_xml).findall("graphics")
    if index >= len(found):
        raise ValueError("the graphics element is gone")
    element = found[index]
    if element.get("passwd") is None:
        return None
    element.set("passwd", password)
    element.set("passwdValidTo", until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    element.set("connected", "keep")
    return ElementTree.tostring(element, encoding="unicode")


def _devices(xml: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - libvirt's own; expat stops bombs
    except ElementTree.ParseError as exc:
        raise ValueError("no XML of a domain") from exc
    found = root.find("devices")
    return ElementTree.Element("devices") if found is None else found


def _spice(index: int, element: ElementTree.Element) -> Spice:
    listen = element.find("listen")
    address = element.get("listen", "")
    if listen is not None and not address and listen.get("type") in ("address", "network"):
        address = listen.get("address", "")
    modes = [each.get("mode") for each in element.findall("channel")]
    return Spice(
        index,
        port=_port(element.get("port")),
        tls_port=_port(element.get("tlsPort")),
        address=address,
        tls_only=element.get("defaultMode") == "secure" or "secure" in modes,
    )


def _port(text: str | None) -> int | None:
    """A port; -1 and nothing mean that there is none now."""
    return int(text) if text is not None and text.isdigit() and text != "0" else None
