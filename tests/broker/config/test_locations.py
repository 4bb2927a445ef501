from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.config.locations import SOCKET_PATH_MAX, Locations
from broker.errors import ConfigError, StoreError


def test_broker_home_puts_all_four_below_it() -> None:
    found = Locations.from_env({"BROKER_HOME": "/srv/b", "XDG_CONFIG_HOME": "/elsewhere"})
    assert (found.config_dir, found.data_dir, found.state_dir, found.runtime_dir) == (
        Path("/srv/b/config"),
        Path("/srv/b/data"),
        Path("/srv/b/state"),
        Path("/srv/b/run"),
    )


def test_the_xdg_variables_count() -> None:
    found = Locations.from_env(
        {
            "HOME": "/home/a",
            "XDG_CONFIG_HOME": "/c",
            "XDG_DATA_HOME": "/d",
            "XDG_STATE_HOME": "/s",
            "XDG_RUNTIME_DIR": "/r",
        }
    )
    assert found.sources_yaml == Path("/c/console-broker/sources.yaml")
    assert found.data_dir == Path("/d/console-broker")
    assert found.database == Path("/s/console-broker/broker.db")
    assert found.proxy_json == Path("/r/console-broker/proxy.json")


def test_relative_xdg_variables_are_ignored() -> None:
    found = Locations.from_env({"HOME": "/home/a", "XDG_CONFIG_HOME": "c"})
    assert found.broker_yaml == Path("/home/a/.config/console-broker/broker.yaml")


def test_without_a_runtime_directory_it_is_below_tmp_by_user() -> None:
    found = Locations.from_env({"HOME": "/home/a"})
    assert found.runtime_dir == Path(f"/tmp/console-broker-{os.getuid()}")
    assert found.shared_parent


def test_prepare_makes_four_directories_that_only_we_enter(broker_home: Path) -> None:
    Locations.from_env().prepare()
    modes = {path.name: path.stat().st_mode & 0o777 for path in broker_home.iterdir()}
    del modes["home"]
    assert modes == dict.fromkeys(("config", "data", "state", "run"), 0o700)


def test_prepare_twice_is_fine_and_closes_what_others_could_read(locations: Locations) -> None:
    locations.state_dir.chmod(0o755)
    locations.prepare()
    assert locations.state_dir.stat().st_mode & 0o777 == 0o700


def test_a_directory_others_may_write_to_is_refused(locations: Locations) -> None:
    locations.runtime_dir.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write to it") as caught:
        locations.prepare()
    assert caught.value.fix.endswith(f"chmod 700 {locations.runtime_dir}")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(locations: Locations) -> None:
    os.chown(locations.runtime_dir, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        locations.prepare()


def test_a_link_put_in_the_shared_tmp_is_refused(broker_home: Path) -> None:
    target = broker_home / "target"
    target.mkdir(mode=0o700)
    link = broker_home / "link"
    link.symlink_to(target)
    found = Locations(
        broker_home / "c", broker_home / "d", broker_home / "s", link, shared_parent=True
    )
    with pytest.raises(ConfigError, match="is not a directory"):
        found.prepare()


def test_a_link_of_our_own_is_followed(broker_home: Path) -> None:
    (broker_home / "dotfiles").mkdir(mode=0o700)
    (broker_home / "config").symlink_to(broker_home / "dotfiles")
    Locations.from_env().prepare()


def test_a_file_in_the_way_is_said(broker_home: Path) -> None:
    (broker_home / "state").write_text("")
    with pytest.raises(ConfigError, match="a file is in the way"):
        Locations.from_env().prepare()


def test_a_path_too_long_for_sockets_is_refused_before_anything_listens(broker_home: Path) -> None:
    long = broker_home / ("x" * 90)
    with pytest.raises(ConfigError, match="too long for the unix sockets") as caught:
        Locations.from_env({"BROKER_HOME": str(long)}).prepare()
    assert "BROKER_HOME" in caught.value.fix


def test_the_longest_path_allowed_leaves_room_for_a_vms_sockets(broker_home: Path) -> None:
    room = SOCKET_PATH_MAX - len("/vms/0123456789ab/serial.sock") - len("/run")
    home = broker_home / ("x" * (room - len(str(broker_home)) - 1))
    Locations.from_env({"BROKER_HOME": str(home)}).prepare()


def test_a_configuration_that_our_group_may_write_is_ours_to_decide(locations: Locations) -> None:
    locations.config_dir.chmod(0o775)
    locations.prepare()
    assert locations.config_dir.stat().st_mode & 0o777 == 0o775


def test_without_any_home_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(ConfigError, match="no home directory") as caught:
        Locations.from_env({})
    assert "BROKER_HOME" in caught.value.fix


def _no_home() -> Path:
    raise RuntimeError


def test_a_disk_that_cannot_be_written_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="cannot be made") as caught:
        Locations.from_env({"BROKER_HOME": "/proc/console-broker"}).prepare()
    assert "BROKER_HOME" in caught.value.fix
