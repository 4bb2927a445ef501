"""What is said of verbs that a machine has not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.errors import UsageError
from broker.model import MachineKey
from broker.service.power import PowerVerbs
from tests.fakes.service import console


async def test_a_vm_of_this_host_has_a_reset_in_place_of_a_reboot() -> None:
    here = console("web").machine
    assert here.defined

    def machine(key: MachineKey) -> object:
        assert key == here.key
        return here

    verbs = PowerVerbs()
    verbs._store = cast(Any, SimpleNamespace(machine=machine))
    with pytest.raises(UsageError, match="cannot be asked to boot anew") as told:
        await verbs.reboot(here.key)
    assert told.value.fix.startswith("Reset it: broker vm reset web;")
