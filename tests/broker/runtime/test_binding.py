"""Listening sockets, and what is said when there can be none."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.errors import UsageError
from broker.proxy import private
from broker.runtime.binding import bind, private_door


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_a_busy_port_says_which_and_what_to_do(busy: int) -> None:
    with pytest.raises(UsageError) as caught:
        bind("127.0.0.1", busy)
    assert str(busy) in caught.value.what
    assert "tls_port" in caught.value.fix


def test_a_face_that_just_needs_a_proxy_takes_another_port(busy: int) -> None:
    (listener,) = bind("127.0.0.1", busy, fall_back=True)
    with listener:
        assert listener.getsockname()[1] not in (0, busy)


def test_every_address_of_a_name_gets_the_same_port() -> None:
    listeners = bind("localhost", 0)
    ports = {listener.getsockname()[1] for listener in listeners}
    for listener in listeners:
        listener.close()
    assert len(ports) == 1


@pytest.mark.parametrize("listen", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_a_usage_error(listen: str) -> None:
    with pytest.raises(UsageError, match=listen):
        bind(listen, 0)


def test_our_own_programs_have_a_socket_that_goes_with_us(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    path.touch()  # left over by one that was killed
    with private_door(path) as (listener,):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found = private.connected(path)
        assert found is not None
        with found:
            listener.accept()[0].close()
    assert not path.exists()


def test_where_nobody_says_who_connects_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "CAN_TELL", False)
    with private_door(tmp_path / "proxy.sock") as found:
        assert found == []
    assert not list(tmp_path.iterdir())
