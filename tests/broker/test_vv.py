from __future__ import annotations

import contextlib
import ctypes.util
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import vv
from broker.errors import UsageError

FILE = vv.VvFile(
    host="broker.example",
    tls_port=5920,
    password="T" * 48,
    host_subject="O=Console Broker,CN=console-broker",
    ca="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    title="web-01 (lab)",
    valid_until=datetime(2026, 11, 21, 8, 15, tzinfo=UTC),
)

WHOLE = """\
[virt-viewer]
type=spice
host=broker.example
tls-port=5920
password=TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT
host-subject=O=Console Broker,CN=console-broker
ca=-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n
title=web-01 (lab)
delete-this-file=1
toggle-fullscreen=shift+f11
release-cursor=shift+f12
secure-attention=ctrl+alt+end
zoom-in=<Ctrl>plus
zoom-out=<Ctrl>minus
zoom-reset=ctrl+0
usb-device-reset=ctrl+shift+r
enable-usbredir=1
ticket-valid-until=1795248900
"""

texts = st.text(st.characters(exclude_characters="\0\v\f", exclude_categories=["Cs"]))
"""All that GLib's key files have a way to write."""

ports = st.none() | st.integers(0, 65535)
files = st.builds(
    vv.VvFile,
    host=texts,
    tls_port=ports,
    port=ports,
    password=texts,
    host_subject=st.none() | texts,
    ca=st.none() | texts,
    title=texts,
    valid_until=st.none()
    | st.datetimes(
        datetime(1970, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ).map(lambda moment: moment.replace(microsecond=0)),
    delete_this_file=st.booleans(),
    usbredir=st.booleans(),
    type=texts,
)


def test_the_default_file_has_tls_alone_the_token_and_every_hotkey() -> None:
    assert vv.render(FILE) == WHOLE


def test_the_profile_for_ryll_leaves_the_hotkeys_out() -> None:
    keys = vv.parse_keys(vv.render(FILE, "ryll"))
    assert not keys.keys() & vv.HOTKEYS.keys()
    assert keys["ticket-valid-until"] == "1795248900"


def test_the_minimal_profile_holds_only_what_connecting_takes() -> None:
    keys = vv.parse_keys(vv.render(FILE, "minimal"))
    assert list(keys) == ["type", "host", "tls-port", "password", "host-subject", "ca"]


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="remote-viewer, ryll, minimal"):
        vv.render(FILE, "vinagre")


def test_a_unix_path_stands_instead_of_host_and_ports() -> None:
    keys = vv.parse_keys(vv.render(vv.VvFile(unix_path="/run/x.sock", host="h", port=1)))
    assert keys["unix-path"] == "/run/x.sock"
    assert not keys.keys() & {"host", "port", "tls-port"}


def test_a_newline_in_a_machines_name_adds_no_key() -> None:
    text = vv.render(vv.VvFile(host="h", title="web\nhost=evil\r\n[virt-viewer]\ntype=vnc"))
    assert vv.parse_keys(text)["host"] == "h"
    assert len(text.splitlines()) == len(vv.render(vv.VvFile(host="h", title="web")).splitlines())


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("  two spaces", "title=\\s\\stwo spaces"),
        ("tab\there", "title=tab\\there"),
        ("C:\\n", "title=C:\\\\n"),
        ("end ", "title=end "),
        ("nul\0 page\f lone\ud800", "title=nul\ufffd page\ufffd lone\ufffd"),
    ],
    ids=["leading spaces", "tab", "backslash", "trailing space", "what GLib cannot hold"],
)
def test_values_are_escaped_as_glib_wants_it(title: str, line: str) -> None:
    assert line in vv.render(vv.VvFile(title=title)).split("\n")


@given(files)
def test_what_is_rendered_is_parsed_the_same(file: vv.VvFile) -> None:
    assert vv.parse(vv.render(file)) == file


@given(st.text())
def test_whatever_the_title_the_keys_stay_the_same(title: str) -> None:
    keys = vv.parse_keys(vv.render(vv.VvFile(host="h", title=f"x{title}")))
    assert keys.keys() == vv.parse_keys(vv.render(vv.VvFile(host="h", title="x"))).keys()


@given(st.text())
def test_no_text_makes_the_parser_raise_anything_but_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        vv.parse(f"[virt-viewer]\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# comment\n[virt-viewer]\ntype=spice\n",
        "[virt-viewer]\nhost=h\n",
        "[virt-viewer]\ntype=spice\nnonsense\n",
        "[virt-viewer]\ntype=spice\n=x\n",
        "[virt-viewer]\ntype=spice\ntitle=a\\x\n",
        "[virt-viewer]\ntype=spice\ntls-port=5920x\n",
        "[virt-viewer]\ntype=spice\nticket-valid-until=999999999999999999\n",
    ],
    ids=["empty", "comment first", "no type", "no key", "no name", "escape", "port", "time"],
)
def test_what_no_viewer_would_read_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as told:
        vv.parse(text)
    assert told.value.fix


def test_other_groups_comments_and_windows_line_ends_are_passed_over() -> None:
    text = "[virt-viewer]\r\ntype = spice\r\n# note\r\n\r\nx-a=1\r\n[ovirt]\r\nhost=other\r\n"
    assert vv.parse(text) == vv.VvFile(delete_this_file=False, usbredir=False)


def test_a_password_never_shows_in_a_representation() -> None:
    assert "TTTT" not in repr(FILE)


# -- the real thing

GLIB = ctypes.util.find_library("glib-2.0")


def glib_reads(text: str, key: str) -> str | None:
    """What GLib's own key-file reader finds, as every viewer does."""
    glib = ctypes.CDLL(GLIB)
    glib.g_key_file_new.restype = ctypes.c_void_p
    glib.g_key_file_get_string.restype = ctypes.c_void_p
    file = ctypes.c_void_p(glib.g_key_file_new())
    data = text.encode()
    group = vv.GROUP.encode()
    assert glib.g_key_file_load_from_data(file, data, ctypes.c_size_t(len(data)), 0, None)
    found = glib.g_key_file_get_string(file, group, key.encode(), None)
    value = None if found is None else ctypes.string_at(found).decode()
    glib.g_free(ctypes.c_void_p(found))
    glib.g_key_file_free(file)
    return value


@pytest.mark.skipif(GLIB is None, reason="GLib is not installed")
@given(texts.filter(bool))
def test_glib_reads_every_title_as_it_was_meant(title: str) -> None:
    text = vv.render(vv.VvFile(host="h", title=title))
    assert glib_reads(text, "title") == title
    assert glib_reads(text, "host") == "h"
