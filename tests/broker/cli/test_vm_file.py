from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from broker.cli.vm_file import read_spec
from broker.errors import ConfigError, UsageError
from broker.model import DiskBus, MachineSpec
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.img").write_bytes(b"\0" * 4096)
    path = tmp_path / "vm.yaml"
    path.write_text(
        "name: web\nmemory: 2048\nforwards: ['2222:22']\n"
        "disks: [a.img, {path: a.img, format: raw, bus: sata}]\n"
    )
    return path


def test_paths_start_at_the_file_and_formats_are_looked_up(file: Path) -> None:
    spec = read_spec(str(file))
    assert (spec.name, spec.memory, spec.forwards) == ("web", 2048, ((2222, 22),))
    assert [disk.path for disk in spec.disks] == [str(file.parent / "a.img")] * 2
    assert (spec.disks[0].format, spec.disks[1].bus) == ("raw", DiskBus.SATA)
    assert len(spec.uuid) == 36


def test_options_win_over_the_file(file: Path) -> None:
    service = FakeService()
    ran = called(f"vm define other -f {file} -m 512 --cpus 3", service)
    assert ran.code == 0
    assert "name='other'" in repr(service.asked[0][1])
    assert "memory=512, cpus=3" in repr(service.asked[0][1])


def test_stdin_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("name: web"))
    assert read_spec("-").name == "web"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "is not YAML"),
        ("- a", "does not describe a machine"),
        ("nmae: web", "nmae is not a setting"),
        ("name: web\nmemory: lots", "memory is 'lots'"),
        ("name: web\ndisks: [{path: a.img, buss: sata}]", "buss is not a setting"),
        ("memory: 5", "name is missing"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_word(text: str, said: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_spec(str(file))
    assert caught.value.what.startswith(str(file))
    assert said in caught.value.what


def test_a_file_that_is_no_text_is_said(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_spec(str(file))


def test_a_missing_image_is_said(file: Path) -> None:
    file.write_text("name: web\ndisks: [no.img]")
    with pytest.raises(UsageError, match=r"There is no image .*no\.img"):
        read_spec(str(file))


def test_every_path_starts_at_the_file_and_what_is_there_is_looked_at(file: Path) -> None:
    file.write_text(
        "name: web\ncdrom: empty\nfloppy: a.img\nkernel: a.img\n"
        "cloud_init: {user_data_file: a.img}\n"
        "disks: [{path: new.qcow2, backing: a.img}, {size: 1G}, {path: a.img}]\n"
    )
    spec = read_spec(str(file))
    image = str(file.parent / "a.img")
    assert (spec.cdrom, spec.floppy, spec.kernel) == ("empty", image, image)
    assert spec.cloud_init is not None
    assert spec.cloud_init.user_data_file == image
    made, own, old = spec.disks
    assert (made.path, made.format) == (str(file.parent / "new.qcow2"), "qcow2")
    assert (made.backing, made.backing_format) == (image, "raw")
    assert (own.path, own.size, old.format) == ("", 1 << 30, "raw")


def test_a_definition_is_shown_as_it_can_be_read(file: Path) -> None:
    service = FakeService()
    shown = called("vm show web-01", service).out
    file.write_text(shown)
    assert read_spec(str(file)) == MachineSpec("web-01", service.named("web-01").machine.key.uuid)
    assert called("vm show web-01 --yaml", service).out == shown
    assert json.loads(called("vm show web-01 --json", service).out)["name"] == "web-01"


def test_the_command_of_a_vm_is_shown() -> None:
    ran = called("vm show web-01 --command", FakeService())
    assert ran.out == "qemu-system-x86_64 -name guest=web-01 'a b'\n"


def test_the_schema_is_json_and_knows_what_the_keys_mean() -> None:
    schema = json.loads(called("vm schema", FakeService()).out)
    assert schema["properties"]["memory"]["description"] == "MiB."
