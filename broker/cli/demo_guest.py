"""The demo guest for whoever wants it: `run --demo`, the terminal interface, `smoke`."""

from __future__ import annotations

from dataclasses import replace

from broker.config.locations import Locations
from broker.demo import MACHINE_ID, machine_spec, write_image
from broker.errors import StoreError
from broker.model import MachineId, MachineSpec


def demo_spec(name: str | None = None) -> MachineSpec:
    """The demo guest, its image written where VMs keep their disks.

    Raises:
        StoreError: The image cannot be written.
    """
    directory = Locations.from_env().data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        image = write_image(directory / "demo.img")
    except OSError as exc:
        raise StoreError(
            f"The demo guest's image cannot be written ({exc})", fix=f"Look at {directory}"
        ) from exc
    spec = machine_spec(image)
    if name in (None, spec.name):
        return replace(spec, uuid=MACHINE_ID)
    import uuid

    return replace(spec, name=name, uuid=MachineId(str(uuid.uuid4())))
