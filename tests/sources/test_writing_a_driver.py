"""The driver of docs/writing-a-driver.md, as it stands there, held to the contract."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from broker.driver import Driver, DriverContext
from broker.errors import NoConsole, SourceUnreachable
from broker.model import MachineId, SourceName
from tests.sources.conformance import DriverConformance

PAGE = (Path(__file__).parent.parent.parent / "docs" / "writing-a-driver.md").read_text()


def written() -> tuple[str, type[Driver]]:
    """The page's first block of Python, and the class in it."""
    (code, *_) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    module = ModuleType("json_driver")
    sys.modules[module.__name__] = module  # pydantic looks annotations up there
    exec(compile(code, "docs/writing-a-driver.md", "exec"), module.__dict__)
    found: Any = module.__dict__["JsonDriver"]
    return code, found


CODE, DRIVER = written()
ROWS = [
    {"id": "AB-1", "name": "web", "host": "192.0.2.1", "port": 5900, "on": True},
    {"id": "AB-2", "name": "db", "host": "192.0.2.1", "port": 5901, "on": False},
]


def test_it_takes_sixty_lines() -> None:
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 60


async def test_a_list_that_makes_no_sense_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    context = DriverContext(tmp_path, tmp_path, tmp_path)
    driver = DRIVER.from_options(SourceName("lab"), {"path": "lab.json"}, context)
    for text in ("", "{}[", '{"a": 1}', '[{"id": "x"}]', "[1]"):
        (tmp_path / "lab.json").write_text(text)
        with pytest.raises(SourceUnreachable):
            await driver.machines()
    (tmp_path / "lab.json").write_text(json.dumps(ROWS))
    with pytest.raises(NoConsole):
        await driver.console(MachineId("ab-2"))


class TestJson(DriverConformance):
    driver_class = DRIVER
    secrets = ("p4ssw0rd-of-all",)

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, object]:
        path = tmp_path / "lab.json"
        path.write_text(json.dumps(ROWS))
        return {"path": str(path), "password": "p4ssw0rd-of-all"}

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Mapping[str, object]:
        return {"path": str(tmp_path / "not-there.json")}
