"""From what a person typed into the form to a `MachineSpec`, or to what is wrong with it.

Pure, but for looking whether the image is there.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.model import Accel, Disk, Display, MachineId, MachineSpec, Network

DEMO: Final = "demo"
FORMATS: Final = {".qcow2": "qcow2", ".img": "raw", ".raw": "raw"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MEMORY: Final = re.compile(r"(\d+)\s*(|m|mb|mib|g|gb|gib)", re.IGNORECASE)
_LEAST_MEMORY: Final = 16
_MOST_CPUS: Final = 288


@dataclass(frozen=True, slots=True)
class Form:
    """The fields, as typed."""

    name: str
    image: str
    memory: str
    cpus: str
    accel: str = Accel.AUTO
    display: str = Display.STD
    network: str = Network.USER


def read(
    form: Form, *, taken: Collection[str], demo: MachineSpec | None
) -> tuple[MachineSpec | None, dict[str, str]]:
    """The VM the form asks for, or a message per field that is wrong.

    Args:
        taken: Names of local VMs that exist.
        demo: The demo guest; its disk, and its accelerator when that is left to us.
    """
    wrong: dict[str, str] = {}
    name = form.name.strip()
    if not _NAME.fullmatch(name):
        wrong["name"] = "1 to 63 letters, digits, . _ - (not . _ - first)"
    elif name in taken:
        wrong["name"] = f"{name} exists already; choose another name"
    memory = _memory(form.memory, wrong)
    cpus = _cpus(form.cpus, wrong)
    disks, cdrom = _image(form.image.strip(), demo, wrong)
    if wrong:
        return None, wrong
    accel = Accel(form.accel)
    if disks and demo is not None and disks == demo.disks and accel is Accel.AUTO:
        accel = demo.accel
    spec = MachineSpec(
        name=name,
        uuid=MachineId(str(uuid.uuid4())),
        memory=memory,
        cpus=cpus,
        accel=accel,
        disks=disks,
        cdrom=cdrom,
        display=Display(form.display),
        network=Network(form.network),
    )
    return spec, {}


def _memory(text: str, wrong: dict[str, str]) -> int:
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        wrong["memory"] = "MiB, or with a unit: 1024, 512M, 2G"
        return 0
    memory = int(match[1]) * (1024 if match[2].lower().startswith("g") else 1)
    if memory < _LEAST_MEMORY:
        wrong["memory"] = f"At least {_LEAST_MEMORY} MiB"
    return memory


def _cpus(text: str, wrong: dict[str, str]) -> int:
    if text.strip().isdecimal() and 1 <= (cpus := int(text)) <= _MOST_CPUS:
        return cpus
    wrong["cpus"] = f"A number from 1 to {_MOST_CPUS}"
    return 0


def _image(
    text: str, demo: MachineSpec | None, wrong: dict[str, str]
) -> tuple[tuple[Disk, ...], str | None]:
    if text == DEMO and demo is not None:
        return demo.disks, None
    path = Path(text).expanduser().absolute()
    suffix = path.suffix.lower()
    if not text:
        wrong["image"] = "A file: .qcow2 .img .raw, or .iso for a CD"
        if demo is not None:
            wrong["image"] += ", or: demo"
    elif not path.exists():
        wrong["image"] = f"There is no {text}"
    elif not path.is_file():
        wrong["image"] = f"{text} is not a file"
    elif suffix == ".iso":
        return (), str(path)
    elif suffix not in FORMATS:
        wrong["image"] = f"{suffix or 'No suffix'}: only .qcow2 .img .raw .iso are known here"
    else:
        return (Disk(str(path), format=FORMATS[suffix]),), None
    return (), None
