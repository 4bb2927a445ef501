"""Entries while somebody edits them: secrets stay unseen, mistakes are told by option."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from broker.config.locations import Locations
from broker.errors import ConfigError, NotFound
from broker.findings import Mark
from broker.model import SourceName
from broker.service.configuring import Draft
from tests.fakes.service import FakeService

LAB, DEBUG = SourceName("lab"), SourceName("debug")
SECRET = "s3cr3t"
FILE = f"""\
- source: debug
  type: static
  consoles:
  - uuid: aaaa
    name: one
    hypervisor: h
    hypervisor_ip: 127.0.0.1
    insecure_port: 5900
    ticket: {SECRET}
- source: lab
  type: proxmox
  url: https://127.0.0.1:1
  token_id: a@pve!b
  token: {SECRET}
"""


@pytest.fixture
def service(locations: Locations) -> FakeService:
    locations.sources_yaml.write_text(FILE)
    return FakeService()


async def test_an_entry_is_told_without_its_secrets(service: FakeService) -> None:
    lab = await service.draft_of(LAB)
    assert lab.options == {"url": "https://127.0.0.1:1", "token_id": "a@pve!b"}
    assert lab.kept == ("token",)
    one = await service.draft_of(DEBUG, "aaaa")
    assert one.kept == ("ticket",)
    assert SECRET not in str((lab, one, lab.options, one.options))
    assert await service.static_consoles(DEBUG) == [("aaaa", "one")]
    with pytest.raises(NotFound):
        await service.draft_of(DEBUG, "bbbb")


async def test_what_is_no_setting_is_named_unseen_and_goes(
    service: FakeService, locations: Locations
) -> None:
    locations.sources_yaml.write_text(FILE + "  toke: t0ken\n")
    lab = await service.draft_of(LAB)
    assert lab.unknown == ("toke",)
    assert "t0ken" not in str(lab.options)
    await service.save_draft(lab)
    assert locations.sources_yaml.read_text() == FILE


async def test_what_is_kept_stays_and_what_is_typed_is_written(
    service: FakeService, locations: Locations
) -> None:
    lab = await service.draft_of(LAB)
    await service.save_draft(replace(lab, options={**lab.options, "timeout": "30"}))
    one = await service.draft_of(DEBUG, "aaaa")
    await service.save_draft(replace(one, options={**one.options, "name": "uno"}))
    text = locations.sources_yaml.read_text()
    assert text == FILE.replace("name: one", "name: uno") + "  timeout: '30'\n"


async def test_mistakes_are_told_by_option_and_never_with_a_value(service: FakeService) -> None:
    lab = await service.draft_of(LAB)
    wrong = {"url": SECRET, "timeout": SECRET, "token_id": "a@pve!b", "dial_ports": SECRET}
    found = await service.vet(replace(lab, options=wrong))
    assert sorted(found) == ["dial_ports", "timeout", "url"]
    assert SECRET not in str(found)
    assert await service.vet(lab) == {}
    console = Draft(DEBUG, "static", {"uuid": "x", "insecure_port": "0"}, console="")
    assert sorted(await service.vet(console)) == ["insecure_port", "name"]
    named = replace(console, options={"uuid": "x", "name": "x", "ticket": None})
    assert await service.vet(named) == {"hypervisor": "is missing. Add `hypervisor: …`"}
    whole = await service.vet(Draft(LAB, "libvrit", {}))
    assert "Did you mean libvirt" in whole[""]


async def test_what_is_wrong_is_not_written(service: FakeService, locations: Locations) -> None:
    lab = await service.draft_of(LAB)
    with pytest.raises(ConfigError, match="url has a url that does not begin"):
        await service.save_draft(replace(lab, options={"url": "x"}))
    missing = {"uuid": "x", "name": "x", "unix_path": "/x", "ticket_file": "nowhere"}
    with pytest.raises(ConfigError, match="cannot be read"):
        await service.save_draft(Draft(DEBUG, "static", missing, console=""))
    assert locations.sources_yaml.read_text() == FILE


async def test_a_draft_is_tried_before_it_is_written(
    service: FakeService, locations: Locations
) -> None:
    lab = await service.draft_of(LAB)
    steps = await service.try_draft(lab)
    assert steps[-1].finding.mark is Mark.FAIL  # nothing listens there
    steps = await service.try_draft(replace(lab, options={}))
    assert [step.name for step in steps] == ["entry"]
    assert locations.sources_yaml.read_text() == FILE
    assert SECRET not in str(steps)


async def test_every_type_can_be_edited_by_its_schema(service: FakeService) -> None:
    types = {one.name: one.schema for one in await service.source_types()}
    assert {"static", "local", "proxmox", "ovirt", "openstack", "shakenfist"} <= set(types)
    assert all(schema["properties"] for schema in types.values())


async def test_what_is_removed_is_gone_and_nothing_else(
    service: FakeService, locations: Locations
) -> None:
    await service.remove_draft(await service.draft_of(DEBUG, "aaaa"))
    await service.remove_draft(await service.draft_of(LAB))
    text = locations.sources_yaml.read_text()
    assert text == "- source: debug\n  type: static\n  consoles: []\n"


async def test_a_console_is_tried_where_it_is(service: FakeService) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        options = {"name": "one", "hypervisor": "h", "hypervisor_ip": "127.0.0.1", "ticket": SECRET}
        draft = Draft(DEBUG, "static", {**options, "insecure_port": port}, console="")
        (step,) = await service.try_draft(draft)
        assert (step.name, step.finding.mark) == (f"port {port}", Mark.FAIL)
        assert "Connection refused" in step.finding.words
        missing = replace(draft, options={**draft.options, "ca_cert": "none.pem"})
        (step,) = await service.try_draft(missing)
        assert (step.name, step.finding.mark) == ("entry", Mark.FAIL)
        assert SECRET not in str(step)
