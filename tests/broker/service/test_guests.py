"""What the audit log says of a VM in use, and what it does not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from broker.driver import Driver
from broker.errors import UsageError
from broker.events import Kind
from broker.guest import Guest
from broker.model import Machine
from broker.service.guests import ToldGuest, guest_of
from tests.fakes.guest import FakeGuest
from tests.fakes.service import console


class Told(list[tuple[str, str]]):
    """An audit log."""

    async def tell(self, kind: Kind, machine: Machine, text: str) -> None:
        self.append((kind.value, text))


async def test_what_changes_a_vm_is_told_and_what_is_typed_is_not() -> None:
    told, inner = Told(), FakeGuest()
    guest: Guest = ToldGuest(inner, console("web").machine, told.tell)
    await guest.type("s3cret")
    await guest.press(["a"])
    await guest.hmp("info status", timeout=1)
    await guest.qmp("stop", {}, timeout=1)
    await guest.screenshot()
    await guest.insert("/x.iso")
    await guest.eject()
    await guest.save_snapshot("one")
    await guest.load_snapshot("one")
    await guest.delete_snapshot("one")
    await guest.link(up=False)
    assert told == [
        ("machine.medium", "here/web: /x.iso is in cdrom0"),
        ("machine.medium", "here/web: cdrom0 is empty"),
        ("machine.snapshot", "here/web: snapshot one saved"),
        ("machine.snapshot", "here/web: snapshot one loaded"),
        ("machine.snapshot", "here/web: snapshot one deleted"),
        ("machine.link", "here/web: nic0 is down"),
    ]
    assert (await guest.drives(), await guest.snapshots()) == ([inner.drive], [])
    assert guest.serial() is inner.line


async def test_what_failed_is_not_told_as_done() -> None:
    told, inner = Told(), FakeGuest(failing={"save_snapshot": UsageError("no")})
    with pytest.raises(UsageError):
        await ToldGuest(inner, console("web").machine, told.tell).save_snapshot("one")
    assert told == []


async def test_a_driver_that_cannot_is_told_with_what_can_be_done() -> None:
    other = cast(Driver, cast(Any, object()))
    with pytest.raises(UsageError, match=r"broker open lab/web"):
        await guest_of(other, console("web", "lab").machine, Told().tell)
