"""The disk that cloud-init reads at a cloud image's first boot: a NoCloud seed.

It is written at each start and holds what the definition says now; cloud-init heeds it again only
when the instance-id in its meta-data is another one. It may hold secrets, so it is 0600 and lies in
the VM's runtime directory.
Source: cloud-init documentation, "NoCloud": a volume called cidata with user-data and meta-data.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Final

from broker import private_file
from broker.errors import VmStartFailed
from broker.model import CloudInit, MachineSpec
from broker.vm.paths import VmPaths, cannot_use

VOLUME: Final = "cidata"
MAX_BYTES: Final = 1024 * 1024
"""Of one file; real ones are a page."""


def write_seed(spec: MachineSpec, paths: VmPaths) -> None:
    """Write the seed of a VM that has `cloud_init`.

    Raises:
        VmStartFailed: Its file of user-data cannot be read, or is far too large.
        StoreError: The seed cannot be written.
    """
    assert spec.cloud_init is not None
    image = seed_image(contents(spec, spec.cloud_init))
    try:
        private_file.write(paths.seed, image)
    except OSError as exc:
        raise cannot_use(paths.seed, exc) from exc


def contents(spec: MachineSpec, wanted: CloudInit) -> dict[str, bytes]:
    """The seed's files by name; user-data and meta-data are always there.

    Raises:
        VmStartFailed: Its file of user-data cannot be read, or is far too large.
    """
    user_data = wanted.user_data.encode()
    if wanted.user_data_file is not None:
        user_data = _read(spec.name, Path(wanted.user_data_file))
    made = {"instance-id": spec.uuid, "local-hostname": spec.name}
    files = {
        "user-data": user_data or b"#cloud-config\n{}\n",
        # JSON is YAML, and needs no library here.
        "meta-data": (wanted.meta_data or json.dumps(made) + "\n").encode(),
    }
    if wanted.network_config:
        files["network-config"] = wanted.network_config.encode()
    return files


def seed_image(files: dict[str, bytes]) -> bytes:
    """An ISO 9660 image of those files, with their names in Joliet and Rock Ridge."""
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=VOLUME, joliet=3, rock_ridge="1.09")
    try:
        for number, (name, content) in enumerate(files.items()):
            iso.add_fp(
                io.BytesIO(content),
                len(content),
                f"/FILE{number}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
            )
        image = io.BytesIO()
        iso.write_fp(image)
        return image.getvalue()
    finally:
        iso.close()


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise VmStartFailed(
            f"{name}: its user-data {path} cannot be read: {exc.strerror}",
            fix="Put it there, or change user_data_file in its definition",
        ) from exc
    if len(content) > MAX_BYTES:
        raise VmStartFailed(
            f"{name}: its user-data {path} is larger than {MAX_BYTES // 1024} KiB",
            fix="Name the file that cloud-init shall read",
        )
    return content
