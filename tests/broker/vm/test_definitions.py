import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import ConfigError, NotFound, StoreError, UsageError
from broker.model import MachineId, MachineSpec
from broker.vm.definitions import FILE_NAME, Definitions

A = MachineSpec("web-01", MachineId("6f4e2c1a-0000-4000-8000-000000000001"))
B = MachineSpec("web-02", MachineId("6f4e2c1a-0000-4000-8000-000000000002"))


@pytest.fixture
def definitions(tmp_path: Path) -> Definitions:
    made = Definitions(tmp_path)
    made.add(A)
    made.add(B)
    return made


@pytest.fixture
def file(definitions: Definitions, tmp_path: Path) -> Path:
    return tmp_path / "vms" / A.name / FILE_NAME


def test_no_directory_is_no_machines(tmp_path: Path) -> None:
    assert Definitions(tmp_path / "none").all() == []


def test_what_is_added_is_found_again(definitions: Definitions, tmp_path: Path) -> None:
    assert [item.spec for item in Definitions(tmp_path).all()] == [A, B]


def test_a_definition_is_for_us_alone(file: Path) -> None:
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_nothing_else_is_left_beside_it(file: Path) -> None:
    assert [entry.name for entry in file.parent.iterdir()] == [FILE_NAME]


def test_a_name_is_given_once(definitions: Definitions) -> None:
    with pytest.raises(UsageError, match="There is a VM called web-01 already"):
        definitions.add(replace(A, uuid=MachineId(B.uuid.replace("2", "3"))))


def test_a_uuid_is_given_once(definitions: Definitions) -> None:
    with pytest.raises(UsageError, match="is that of web-01"):
        definitions.add(replace(A, name="web-03"))


def test_two_brokers_that_define_one_name_at_once_do_not_overwrite(
    definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "all", list)  # the other one came after we looked
    with pytest.raises(UsageError, match="There is a VM called web-01 already"):
        definitions.add(replace(A, memory=2))
    monkeypatch.undo()
    assert definitions.spec(A.uuid) == A


def test_an_unsound_spec_is_not_stored(definitions: Definitions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="memory is 0"):
        definitions.add(replace(A, name="bad", memory=0))
    assert not (tmp_path / "vms" / "bad").exists()


def test_a_broken_file_breaks_one_machine_and_keeps_its_uuid(
    definitions: Definitions, file: Path
) -> None:
    file.write_text(f"name: web-01\nuuid: {A.uuid}\nmemroy: 3\n")
    broken, sound = definitions.all()
    assert (broken.name, broken.uuid, broken.spec) == (A.name, A.uuid, None)
    assert broken.problem is not None
    assert broken.problem.what == f"{file}: memroy is not a setting"
    assert broken.problem.fix == "Did you mean memory?"
    assert sound.spec == B


def test_a_file_that_is_not_text_has_a_uuid_that_stays(
    definitions: Definitions, file: Path
) -> None:
    file.write_bytes(b"\xff\x00\x01")
    assert definitions.all()[0].uuid == definitions.all()[0].uuid != A.uuid


def test_a_mended_file_is_read_again(definitions: Definitions, file: Path) -> None:
    good = file.read_text()
    file.write_text("{")
    assert definitions.all()[0].spec is None
    file.write_text(good.replace("1024", "2048"))
    assert definitions.spec(A.uuid).memory == 2048


def test_asking_for_a_broken_one_says_what_is_wrong(definitions: Definitions, file: Path) -> None:
    file.write_text(f"uuid: {A.uuid}\nmemory: lots\n")
    with pytest.raises(ConfigError, match=r"name is missing; memory is 'lots'"):
        definitions.spec(A.uuid)


def test_a_renamed_directory_is_said(definitions: Definitions, file: Path) -> None:
    file.parent.rename(file.parent.with_name("other"))
    assert "its directory is called 'other'" in str(definitions.all()[0].problem)


def test_a_copied_directory_is_said_and_has_an_id_of_its_own(
    definitions: Definitions, file: Path
) -> None:
    copy = file.parent.with_name("zz")
    shutil.copytree(file.parent, copy)
    (copy / FILE_NAME).write_text(file.read_text().replace("web-01", "zz"))
    first, _, copied = definitions.all()
    assert (first.spec, copied.spec, copied.uuid != A.uuid) == (A, None, True)
    assert "is that of web-01" in str(copied.problem)


def test_a_directory_without_a_definition_is_no_machine(
    definitions: Definitions, tmp_path: Path
) -> None:
    (tmp_path / "vms" / "half").mkdir()
    (tmp_path / "vms" / "file").write_text("")
    assert len(definitions.all()) == 2


def test_a_name_half_made_by_a_killed_broker_can_be_used(tmp_path: Path) -> None:
    half = tmp_path / "vms" / A.name
    half.mkdir(mode=0o700, parents=True)
    (tmp_path / "vms").chmod(0o700)
    (half / f".{FILE_NAME}.12ab").write_text("na")
    definitions = Definitions(tmp_path)
    definitions.add(A)
    assert definitions.spec(A.uuid) == A


def test_an_unknown_uuid_is_not_found(definitions: Definitions) -> None:
    with pytest.raises(NotFound):
        definitions.spec(MachineId("nobody"))


def test_removing_keeps_disks_when_told(definitions: Definitions, file: Path) -> None:
    (file.parent / "disk.qcow2").write_text("")
    definitions.remove(definitions.find(A.uuid), keep_disks=True)
    assert [entry.name for entry in file.parent.iterdir()] == ["disk.qcow2"]


def test_removing_leaves_no_empty_directory(definitions: Definitions, file: Path) -> None:
    definitions.remove(definitions.find(A.uuid), keep_disks=True)
    assert not file.parent.exists()


def test_removing_disks_stays_inside_its_directory(
    definitions: Definitions, file: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.qcow2"
    outside.write_text("")
    (file.parent / "link.qcow2").symlink_to(outside)
    definitions.remove(definitions.find(A.uuid), keep_disks=False)
    assert (file.parent.exists(), outside.exists()) == (False, True)


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        Definitions(tmp_path).add(A)
    assert caught.value.fix == "Free some space on that file system"
    assert list((tmp_path / "vms" / A.name).iterdir()) == []


def test_a_definition_takes_the_place_of_the_one_before(
    definitions: Definitions, file: Path
) -> None:
    definitions.replace(wanted := replace(A, memory=512))
    assert (definitions.spec(A.uuid), [each.name for each in file.parent.iterdir()]) == (
        wanted,
        [FILE_NAME],
    )
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_broken_file_can_be_replaced(definitions: Definitions, file: Path) -> None:
    file.write_text(f"uuid: {A.uuid}\nmemroy: 512\n")
    definitions.replace(A)
    assert definitions.spec(A.uuid) == A


def test_a_definition_gives_no_other_name(definitions: Definitions) -> None:
    with pytest.raises(UsageError) as caught:
        definitions.replace(replace(A, name="other"))
    assert caught.value.fix == "Say: broker vm rename web-01 other"


def test_what_is_not_there_is_not_replaced(definitions: Definitions) -> None:
    with pytest.raises(NotFound):
        definitions.replace(replace(A, uuid=MachineId("6f4e2c1a-0000-4000-8000-0000000000ff")))
