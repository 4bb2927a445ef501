"""What a person chooses in the interface, in their own files."""

from __future__ import annotations

import stat

import pytest

from broker.config.locations import Locations
from broker.config.preferences import PersonsFiles
from broker.errors import ConfigError, UsageError

BROKER = """\
# mine
proxy:
  tls_port: 5930  # not 5920
tui:
  # at night
  theme: light   # it was bright
"""


@pytest.fixture
def files(locations: Locations) -> PersonsFiles:
    locations.broker_yaml.write_text(BROKER)
    return PersonsFiles(locations)


def test_a_choice_goes_into_broker_yaml_and_comments_stay(
    files: PersonsFiles, locations: Locations
) -> None:
    assert files.choose("theme", "contrast") == ""
    files.choose("columns", ("NAME", "STATE"))
    expected = BROKER.replace("theme: light", "theme: contrast") + "  columns: [NAME, STATE]\n"
    assert locations.broker_yaml.read_text() == expected
    assert files.settings().settings.tui.columns == ("NAME", "STATE")
    files.choose("columns", None)
    assert files.settings().settings.tui.columns is None
    assert files.settings().provenance["tui.theme"] == str(locations.broker_yaml)


def test_without_a_file_one_is_made(locations: Locations) -> None:
    files = PersonsFiles(locations)
    files.choose("theme", None)
    assert not locations.broker_yaml.exists()
    files.choose("theme", "light")
    assert locations.broker_yaml.read_text() == "tui:\n  theme: light\n"
    assert stat.S_IMODE(locations.broker_yaml.stat().st_mode) == 0o600


def test_the_last_choice_can_be_taken_back(files: PersonsFiles, locations: Locations) -> None:
    files.choose("theme", None)
    assert locations.broker_yaml.read_text() == BROKER.replace(
        "tui:\n  # at night\n  theme: light   # it was bright\n", "tui: {}\n  # at night\n"
    )
    files.choose("theme", "dark")
    assert files.settings().provenance["tui.theme"] == str(locations.broker_yaml)
    files.choose_keys("vm.start", "f6")
    files.choose_keys("vm.start", None)
    assert (locations.keys_yaml.read_text(), files.keys()) == ("", {})


def test_a_choice_that_the_environment_overrides_says_so(
    files: PersonsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_TUI_THEME", "dark")
    assert "BROKER_TUI_THEME is set" in files.choose("theme", "contrast")


def test_a_broker_yaml_that_is_wrong_is_left_alone(
    files: PersonsFiles, locations: Locations
) -> None:
    locations.broker_yaml.write_text("tui: {thema: dark}\n")
    with pytest.raises(ConfigError, match="thema"):
        files.choose("theme", "dark")
    assert locations.broker_yaml.read_text() == "tui: {thema: dark}\n"
    with pytest.raises(UsageError):
        files.choose("proxy", "dark")


def test_keys_go_into_keys_yaml_and_comments_stay(
    files: PersonsFiles, locations: Locations
) -> None:
    locations.keys_yaml.write_text("# mine\nvm.start: f5   # as elsewhere\n")
    files.choose_keys("list.down", "j,down")
    files.choose_keys("vm.start", "f6")
    expected = "# mine\nvm.start: f6   # as elsewhere\nlist.down: [j, down]\n"
    assert locations.keys_yaml.read_text() == expected
    assert files.keys() == {"vm.start": "f6", "list.down": "j,down"}
    files.choose_keys("vm.start", None)
    files.choose_keys("vm.start", None)
    assert locations.keys_yaml.read_text() == "# mine\nlist.down: [j, down]\n"
