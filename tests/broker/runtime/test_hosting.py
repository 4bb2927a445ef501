"""A proxy that cannot be started from a face."""

import os
from pathlib import Path

import pytest

from broker.errors import BrokerError
from broker.runtime.hosting import LeasedProxy


async def test_a_log_that_cannot_be_made_is_told_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = os.pipe, list[int]()

    def pipe() -> tuple[int, int]:
        ends = make()
        made.extend(ends)
        return ends

    monkeypatch.setattr("broker.runtime.hosting.os.pipe", pipe)
    (tmp_path / "logs").touch()  # where a directory should be
    proxy = LeasedProxy(tmp_path / "proxy.json", tmp_path / "logs" / "proxy.log")
    with pytest.raises(BrokerError, match="cannot be started") as caught:
        await proxy.host()
    assert "proxy.log" in caught.value.fix
    assert len(made) == 4
    for descriptor in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
