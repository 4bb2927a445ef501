"""The demo guest: a whole operating system in a boot sector of 512 bytes.

What tests, `broker smoke` and the first run boot: no download, up in a fraction of a second under
TCG. `demo.asm` is its source, `demo.img` the sector; a test assembles the one and compares it with
the other. This room holds the sector and says how to run it; it launches nothing.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from broker import private_file
from broker.model import Accel, Disk, DiskBus, Display, MachineId, MachineSpec, Network

BANNER: Final = b"CONSOLE BROKER DEMO READY\r\n"
"""What it says on COM1 (and, without the line end, on the screen) once it is up."""

ANSWERS: Final = (b"K0\r\n", b"K1\r\n")
"""What COM1 says after a key: the block is now black, white. The first key gives `K1`."""

BLOCK: Final = (270, 128, 450, 288)
"""The block's pixels on the 720x400 screen: left, top, right, bottom (the last two outside)."""

IMAGE_BYTES: Final = 1024 * 1024
"""Size of the disk image: firmware boots no disk of a single sector."""

MACHINE_ID: Final = MachineId("b0071e55-0000-4000-8000-00000000d3e0")
"""The uuid of the one demo VM that `machine_spec` describes unless told otherwise."""


def image_bytes() -> bytes:
    """The boot sector, padded with zeros to a raw disk image of `IMAGE_BYTES`."""
    sector = resources.files(__name__).joinpath("demo.img").read_bytes()
    return sector.ljust(IMAGE_BYTES, b"\0")


def write_image(path: Path) -> Path:
    """Write the disk image to `path` unless it is there already; return the path.

    Raises:
        OSError: It cannot be written.
    """
    wanted = image_bytes()
    if not path.exists() or path.read_bytes() != wanted:
        private_file.write(path, wanted)
    return path


def machine_spec(
    image: Path, *, name: str = "demo", uuid: MachineId = MACHINE_ID, accel: Accel = Accel.TCG
) -> MachineSpec:
    """A VM that boots `image` (absolute, as `write_image` made it) and keeps nothing.

    TCG by default: it beats nested KVM to the banner by a factor of twenty, and works everywhere.
    """
    return MachineSpec(
        name=name,
        uuid=uuid,
        memory=64,
        cpus=1,
        accel=accel,
        disks=(Disk(str(image), format="raw", bus=DiskBus.SATA, snapshot=True),),
        display=Display.STD,
        network=Network.NONE,
        serial=True,
        agent=False,
        usb_redirections=0,
        sound=False,
    )
