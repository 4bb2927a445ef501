from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker import private_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@pytest.mark.parametrize("content", ["grün\n", "grün\n".encode()], ids=["text", "bytes"])
def test_only_its_owner_can_read_it_whatever_the_umask(path: Path, content: str | bytes) -> None:
    before = os.umask(0)
    try:
        private_file.write(path, content)
    finally:
        os.umask(before)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("grün\n", 0o600)


def test_it_takes_the_place_of_what_is_there_and_leaves_nothing_beside_it(path: Path) -> None:
    path.write_text("old")
    private_file.write(path, "new", durable=True)
    assert (path.read_text(), names(path.parent)) == ("new", ["file"])


def test_a_link_is_replaced_and_not_followed(path: Path) -> None:
    path.symlink_to("elsewhere")
    private_file.write(path, "new")
    assert (path.is_symlink(), names(path.parent)) == (False, ["file"])


def test_what_is_not_to_be_replaced_is_not(path: Path) -> None:
    path.write_text("old")
    with pytest.raises(FileExistsError):
        private_file.write(path, "new", replace=False)
    assert (path.read_text(), names(path.parent)) == ("old", ["file"])


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has none."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)


@pytest.mark.usefixtures("no_hard_links")
def test_a_new_file_needs_no_hard_links(path: Path) -> None:
    private_file.write(path, "new", replace=False)
    assert (path.read_text(), names(path.parent)) == ("new", ["file"])


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_too_nothing_is_replaced_that_is_not_to_be(path: Path) -> None:
    path.write_text("old")
    with pytest.raises(FileExistsError):
        private_file.write(path, "new", replace=False)
    assert (path.read_text(), names(path.parent)) == ("old", ["file"])


@pytest.fixture(params=["hard links", "none"])
def links(request: pytest.FixtureRequest) -> None:
    """With hard links and without."""
    if request.param == "none":
        request.getfixturevalue("no_hard_links")


@pytest.mark.usefixtures("links")
def test_a_name_that_is_taken_has_a_number_behind_it(path: Path) -> None:
    path = path.with_suffix(".png")
    places = [private_file.write_new(path, text) for text in ("one", "two", "three")]
    assert [each.name for each in places] == ["file.png", "file-2.png", "file-3.png"]
    assert [each.read_text() for each in places] == ["one", "two", "three"]
    assert names(path.parent) == sorted(each.name for each in places)


@pytest.mark.usefixtures("links")
def test_who_writes_at_the_same_time_has_a_file_of_their_own(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        places = list(threads.map(lambda n: private_file.write_new(path, str(n)), range(40)))
    assert [each.read_text() for each in places] == [str(n) for n in range(40)]


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        private_file.write(path, "new", durable=True)
    assert (path.read_text(), names(path.parent)) == ("old", ["file"])


def test_nothing_is_left_where_somebody_decides_against_it(path: Path) -> None:
    with private_file.beside(path, "new") as scratch:
        assert scratch.read_text() == "new"
    assert names(path.parent) == []
