"""Forms out of schemas, and entries out of forms. No screen."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config.editing import as_text
from broker.plugins import driver_class
from tui.forms import (
    IN_FILE,
    IN_VARIABLE,
    NO,
    NONE,
    TYPED,
    YES,
    Filled,
    Kind,
    Spec,
    filled,
    options_of,
    specs,
)

SECRET = Spec("password", Kind.SECRET, "", (TYPED, IN_FILE, IN_VARIABLE, NONE))
FLAG = Spec("all_projects", Kind.FLAG, "", (YES, NO), YES)
CHOICE = Spec("interface", Kind.CHOICE, "", ("public", "admin"), "public")
NUMBER = Spec("timeout", Kind.NUMBER, "", (), "15")
LIST = Spec("nodes", Kind.LIST, "")
TEXT = Spec("url", Kind.TEXT, "")


def fields(type_name: str) -> list[Spec]:
    found: Any = driver_class(type_name)
    return specs(found.options_schema())


def test_what_is_needed_comes_first_and_a_secret_is_one_field() -> None:
    found = {spec.key: spec for spec in fields("openstack")}
    keys = list(found)
    assert keys[0] == "url"
    assert keys.index("username") + 1 == keys.index("password")
    assert keys[-2:] == ["dial_networks", "dial_ports"]
    assert not {"password_file", "password_env"} & set(keys)
    assert found["password"].keys == ("password", "password_file", "password_env")
    kinds = {key: found[key].kind for key in ("interface", "all_projects", "timeout", "dial_ports")}
    assert list(kinds.values()) == [Kind.CHOICE, Kind.FLAG, Kind.NUMBER, Kind.LIST]
    assert found["timeout"].default == "15"


def test_a_console_asks_first_for_what_everybody_has() -> None:
    static: Any = driver_class("static")
    found = specs(static.options_schema()["properties"]["consoles"]["items"])
    assert [spec.key for spec in found][:3] == ["name", "hypervisor_ip", "insecure_port"]
    assert found[-1].key == "uuid"
    assert next(spec for spec in found if spec.key == "ticket").words[-1] == NONE


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, ()),
        ({"password_file": "pw"}, ()),
        ({"password_env": "PW"}, ()),
        ({"password": None}, ()),
        ({}, ("password",)),
        ({"all_projects": "no", "interface": "admin"}, ()),
        ({"all_projects": "true", "interface": "public"}, ()),
        ({"timeout": "30", "nodes": ["a", "b"], "url": "https://x"}, ()),
        ({"nodes": "a,b"}, ()),
    ],
)
def test_what_nobody_touched_says_the_same_again(
    options: dict[str, object], kept: tuple[str, ...]
) -> None:
    every = (SECRET, FLAG, CHOICE, NUMBER, LIST, TEXT)
    form = [(spec, filled(spec, options, kept)) for spec in every]
    again, still = options_of(form, options)
    assert as_text(again) == options
    assert still == kept


@pytest.mark.parametrize(
    ("held", "options", "kept"),
    [
        (Filled(" pw ", TYPED), {"password": " pw "}, ()),
        (Filled("pw ", IN_FILE), {"password_file": "pw"}, ()),
        (Filled("", IN_FILE, kept=True), {}, ()),
        (Filled("", TYPED, kept=True), {}, ("password",)),
        (Filled("new", TYPED, kept=True), {"password": "new"}, ()),
        (Filled("new", NONE, kept=True), {"password": None}, ()),
    ],
)
def test_a_secret_is_written_the_way_that_was_chosen(
    held: Filled, options: dict[str, object], kept: tuple[str, ...]
) -> None:
    assert options_of([(SECRET, held)], {}) == (options, kept)


def test_only_what_differs_from_what_comes_without_asking_is_written() -> None:
    form = [(FLAG, Filled(way=YES)), (CHOICE, Filled(way="public")), (NUMBER, Filled(""))]
    assert options_of(form, {}) == ({}, ())
    form = [(FLAG, Filled(way=NO)), (CHOICE, Filled(way="admin")), (NUMBER, Filled("20"))]
    written = {"all_projects": False, "interface": "admin", "timeout": 20}
    assert options_of(form, {}) == (written, ())


def test_a_certificate_in_the_entry_stays_there_unless_another_is_named() -> None:
    held = filled(TEXT, {"url": "-----BEGIN\nx\n"}, ())
    assert held == Filled(kept=True)
    assert options_of([(TEXT, held)], {}) == ({}, ("url",))
    assert options_of([(TEXT, Filled("ca.pem", kept=True))], {}) == ({"url": "ca.pem"}, ())
