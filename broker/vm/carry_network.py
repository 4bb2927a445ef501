"""The network of a QEMU's command line, in all the ways that it can be said.

Source: QEMU manual, "Network options"; what is not said is as QEMU has it for a PC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from broker.model import Network, Nic
from broker.vm.argv_storage import is_q35
from broker.vm.machine_values import INTERFACE
from broker.vm.options import options, pairs

CARD: Final = re.compile(r"virtio-net.*|e1000.*|rtl8139|vmxnet3|ne2k.*|pcnet|i8255\w+|igb|tulip")
"""Devices that are network cards."""
_MODELS: Final = {
    "virtio": Nic.VIRTIO,
    "e1000e": Nic.E1000E,
    "e1000": Nic.E1000,
    "rtl8139": Nic.RTL8139,
}
"""By how their names begin; the first that fits."""
_FORWARD: Final = re.compile(r"tcp:[^:]*:(\d+)-[^:]*:(\d+)")
_ADDRESS: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)


@dataclass(slots=True)
class Wiring:
    """Collects it, option by option: one network and one card.

    Attributes:
        kind: None as long as nothing was said.
        lost: What does not go along, one sentence each.
    """

    kind: Network | None = None
    interface: str | None = None
    forwards: list[tuple[int, int]] = field(default_factory=list)
    nic: Nic | None = None
    mac: str | None = None
    lost: list[str] = field(default_factory=list)
    _cards: int = 0

    def add(self, option: str, value: str, shown: str) -> None:
        """Take a `-nic`, `-net` or `-netdev`.

        Args:
            shown: The option as people may see it.
        """
        said = options(value, "type")
        kind = said.get("type", "")
        if kind == "none":
            self.kind = self.kind or Network.NONE
            return
        if kind == "nic":
            self.card(said.get("model", ""), said.get("macaddr", ""), shown)
            return
        if self.kind not in (None, Network.NONE):
            self.lost.append(f"{shown}: a definition has one network")
            return
        self._network(kind, said, value, shown)
        if option == "nic":
            self.card(said.get("model", ""), said.get("mac", ""), shown)

    def card(self, model: str, address: str, shown: str) -> None:
        """Take a card; one whose model is not said is what the machine has anyway."""
        self._cards += 1
        if self._cards > 1:
            self.lost.append(f"{shown}: a definition has one network card")
            return
        if _ADDRESS.fullmatch(address):
            self.mac = address.lower()
        known = (nic for name, nic in _MODELS.items() if model.startswith(name))
        self.nic = next(known, None)
        if model and self.nic is None:
            self.nic = Nic.E1000
            self.lost.append(f"{shown}: the nearest network card is e1000")

    def fields(self, machine: str, *, bare: bool) -> dict[str, object]:
        """What a definition says of it, once every option was taken.

        Args:
            machine: The machine's type.
            bare: QEMU was told to add nothing by itself.
        """
        kind = self.kind or (Network.NONE if bare else Network.USER)
        if kind is Network.NONE:
            return {"network": kind}
        return {
            "network": kind,
            "interface": self.interface,
            "forwards": tuple(self.forwards),
            "nic": self.nic or (Nic.E1000E if is_q35(machine) else Nic.E1000),
            "mac": self.mac,
        }

    def _network(self, kind: str, said: Mapping[str, str], value: str, shown: str) -> None:
        match kind:
            case "user":
                self.kind = Network.USER
                self._forward(value)
            case "tap":
                self._joined(Network.TAP, said.get("ifname", ""), shown)
                if self.kind is Network.TAP and said.get("script") != "no":
                    self.lost.append(f"{shown}: the script that sets its tap device up is not run")
            case "bridge":
                self._joined(Network.BRIDGE, said.get("br", "br0"), shown)
            case _:
                self.kind = self.kind or Network.NONE
                self.lost.append(f"{shown}: a definition's network is user, tap or bridge")

    def _joined(self, kind: Network, interface: str, shown: str) -> None:
        if re.match(INTERFACE, interface):
            self.kind, self.interface = kind, interface
            return
        self.kind = self.kind or Network.NONE
        self.lost.append(f"{shown}: nothing says which device of this host it is")

    def _forward(self, value: str) -> None:
        for key, text in pairs(value, "type"):
            if key != "hostfwd":
                continue
            if (found := _FORWARD.fullmatch(text)) is not None:
                self.forwards.append((int(found[1]), int(found[2])))
            else:
                self.lost.append(f"{key}={text}: only TCP ports are forwarded")
