"""The option `--disk`: `IMAGE[,OPTION…]`."""

from __future__ import annotations

from pathlib import Path

from broker.cli.args import size
from broker.errors import UsageError
from broker.human import did_you_mean
from broker.model import Disk, DiskBus
from broker.typed_path import is_missing

_KEYS = ("format", "bus", "size", "backing", "backing-format", "snapshot", "readonly")


def disk(text: str) -> Disk:
    """`PATH[,format=F][,bus=B][,size=S][,backing=P][,snapshot][,readonly]`.

    A comma in a path is doubled. With a size or a backing, the image is made at the first start if
    it is not there; without a path then, in the VM's own directory.

    Raises:
        UsageError: An option of it is unknown, or the image is missing.
    """
    from broker.vm.image_kinds import existing, look_at

    words = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    path = "" if "=" in words[0] and is_missing(Path(words[0])) else words.pop(0)
    given = _given(words)
    bus = given.get("bus", "virtio")
    if bus not in tuple(DiskBus):
        raise UsageError(f"{bus!r} is not a bus for disks", fix=f"Known: {', '.join(DiskBus)}")
    backing = str(existing(given["backing"])) if "backing" in given else None
    backing_format = given.get("backing-format")
    if backing is not None and backing_format is None:
        backing_format = look_at(Path(backing)).format
    is_made = backing is not None or "size" in given
    if path and (not is_made or not is_missing(Path(path))):
        image = existing(path)
        format = look_at(image, named=given.get("format")).format  # noqa: A001 - the word of the option
        path = str(image)
    else:
        format = given.get("format") or "qcow2"  # noqa: A001 - as above
        path = str(Path(path).absolute()) if path else ""
    return Disk(
        path=path,
        format=format,
        bus=DiskBus(bus),
        snapshot=_is_on(given, "snapshot"),
        readonly=_is_on(given, "readonly"),
        size=size(given["size"]) if "size" in given else None,
        backing=backing,
        backing_format=backing_format,
    )


def _given(words: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _KEYS:
            near = did_you_mean(key, _KEYS)
            raise UsageError(
                f"{key!r} is not an option of a disk", fix=near or f"Known: {', '.join(_KEYS)}"
            )
        given[key] = value
    return given


def _is_on(given: dict[str, str], key: str) -> bool:
    return key in given and given[key] not in ("off", "no", "0", "false")
