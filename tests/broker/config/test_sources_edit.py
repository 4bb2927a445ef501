"""Writing sources.yaml for a person: what was asked for changes, and not one byte more."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import editing
from broker.config.sources_edit import SourcesEditor, seen_of
from broker.config.sources_file import SourceEntry, read_sources
from broker.errors import BrokerError, ConfigError, NotFound, Refused, UsageError
from broker.model import SourceName

FILE = """\
# where consoles come from
---
# about debug
- source: debug      # by hand
  type: static
  consoles:
    # the first
    - uuid: aaaa   # its id
      name: one
      ticket: 012345

    # the second
    - uuid: bbbb
      name: 'two'
      ca_cert: |
        -----BEGIN
        x
        -----END

# about lab
- source: lab
  type: proxmox
  url: https://pve:8006   # the url
  token_secret: "s3cr\\x65t"
  # what follows is odd

- {source: flow, type: static, consoles: []}   # in brackets
# the end
"""


@pytest.fixture
def path(broker_home: Path) -> Path:
    path = broker_home / "sources.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def editor(path: Path) -> SourcesEditor:
    return SourcesEditor(path)


def lab(**options: object) -> SourceEntry:
    return SourceEntry(SourceName("lab"), "proxmox", options)


def seen(editor: SourcesEditor, name: str) -> str:
    return seen_of(editor.entry(name).options)


def test_one_option_changes_and_nothing_else(editor: SourcesEditor, path: Path) -> None:
    was = editor.entry("lab").options
    new = {**was, "url": "https://other:8006", "dial_networks": ["10.0.0.0/8", "::/0"]}
    editor.put(lab(**new), seen=seen(editor, "lab"))
    expected = FILE.replace("https://pve:8006", "https://other:8006").replace(
        '3cr\\x65t"\n', "3cr\\x65t\"\n  dial_networks: [10.0.0.0/8, '::/0']\n"
    )
    assert path.read_text() == expected
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(path.parent.glob(".sources*"))


def test_an_option_that_is_not_wanted_goes_and_its_comments_stay(
    editor: SourcesEditor, path: Path
) -> None:
    editor.put(lab(url="https://pve:8006", token_secret_file="t"), seen=seen(editor, "lab"))
    expected = FILE.replace('token_secret: "s3cr\\x65t"', "token_secret_file: t")
    assert path.read_text() == expected


def test_saving_what_is_there_writes_nothing(editor: SourcesEditor, path: Path) -> None:
    before = path.stat().st_ino
    editor.put(editor.entry("lab"), seen=seen(editor, "lab"))
    assert (path.read_text(), path.stat().st_ino) == (FILE, before)


def test_a_new_source_comes_behind_the_others(editor: SourcesEditor, path: Path) -> None:
    entry = SourceEntry(SourceName("prod"), "ovirt", {"url": "https://e", "password": "on #1: x"})
    editor.put(entry, seen="")
    added = "- source: prod\n  type: ovirt\n  url: https://e\n  password: 'on #1: x'\n"
    assert path.read_text() == FILE.replace("# the end\n", added + "# the end\n")
    assert editor.entry("prod") == entry


def test_a_source_goes_and_the_comments_around_it_stay(editor: SourcesEditor, path: Path) -> None:
    editor.remove("debug", seen=seen(editor, "debug"))
    text = path.read_text()
    assert "# about debug\n\n# about lab\n- source: lab" in text
    assert [e.name for e in read_sources(path).entries] == ["lab", "flow", "here"]


def test_consoles_come_change_and_go(editor: SourcesEditor, path: Path) -> None:
    new = {"uuid": "cccc", "name": "three", "ticket": None, "insecure_port": 5900}
    editor.put_console("debug", new)
    one = editor.console("debug", "AAAA")
    editor.put_console("debug", {**one, "name": "uno"}, uuid="aaaa", seen=seen_of(one))
    editor.remove_console("debug", "bbbb", seen=seen_of(editor.console("debug", "bbbb")))
    lines = path.read_text().split("\n# about lab")[0]
    assert lines == FILE.split("\n# about lab")[0].replace("name: one", "name: uno").replace(
        """\
    - uuid: bbbb
      name: 'two'
      ca_cert: |
        -----BEGIN
        x
        -----END
""",
        """\
    - uuid: cccc
      name: three
      ticket: null
      insecure_port: 5900
""",
    )
    assert path.read_text().endswith(FILE.split("\n# about lab")[1])


def test_the_last_console_leaves_an_empty_list(editor: SourcesEditor, path: Path) -> None:
    for uuid in ("bbbb", "aaaa"):
        editor.remove_console("debug", uuid, seen=seen_of(editor.console("debug", uuid)))
    assert editor.consoles("debug") == []
    assert "  consoles: []\n    # the first\n" in path.read_text()
    editor.put_console("debug", {"uuid": "dddd", "name": "again"})
    assert [one["name"] for one in editor.consoles("debug")] == ["again"]


@pytest.mark.parametrize("text", [None, "", "# none yet\n", "[]", "~ # nothing\n", "---\n"])
def test_without_sources_the_first_one_is_written(path: Path, text: str | None) -> None:
    path.unlink()
    if text is not None:
        path.write_text(text)
    SourcesEditor(path).put_console("debug", {"uuid": "aaaa", "name": "one"})
    assert [e.name for e in read_sources(path).entries] == ["debug", "here"]
    assert path.read_text().count("#") == (text or "").count("#")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_local_source_gets_an_entry_when_it_has_something_to_say(path: Path) -> None:
    path.unlink()
    entry = SourceEntry(SourceName("here"), "local", {"qemu": "/opt/qemu"})
    SourcesEditor(path).put(entry, seen=seen_of({}))
    assert path.read_text() == "- source: here\n  type: local\n  qemu: /opt/qemu\n"


def test_line_ends_and_a_mark_of_utf_8_stay(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    editor = SourcesEditor(path)
    editor.put(lab(url="https://x", token_secret="a\nb\n", nodes=["a"]), seen=seen(editor, "lab"))
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf# where")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert editor.entry("lab").options["token_secret"] == "a\nb\n"


def test_a_file_without_a_last_line_break_gets_one(path: Path) -> None:
    path.write_text("- source: lab\n  type: proxmox\n  url: https://x")
    editor = SourcesEditor(path)
    editor.put(lab(url="https://x", timeout=9), seen=seen(editor, "lab"))
    assert path.read_text().endswith("url: https://x\n  timeout: 9\n")


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.yaml"
    path.rename(real)
    path.symlink_to(real)
    SourcesEditor(path).remove("lab", seen=seen(SourcesEditor(path), "lab"))
    assert path.is_symlink()
    assert "source: lab" not in real.read_text()


def test_an_entry_that_was_changed_meanwhile_is_left_alone(
    editor: SourcesEditor, path: Path
) -> None:
    before = seen(editor, "lab")
    path.write_text(FILE.replace("https://pve:8006", "https://theirs"))
    with pytest.raises(Refused, match="changed by somebody else") as caught:
        editor.put(lab(url="https://ours"), seen=before)
    assert caught.value.reason == "changed-meanwhile"
    with pytest.raises(Refused):
        editor.remove("lab", seen=before)
    with pytest.raises(Refused):
        editor.remove_console("debug", "aaaa", seen=before)
    assert "https://theirs" in path.read_text()


def test_changes_elsewhere_in_the_file_are_kept_and_no_reason_to_refuse(
    editor: SourcesEditor, path: Path
) -> None:
    before = seen(editor, "lab")
    path.write_text(FILE.replace("name: one", "name: theirs"))
    editor.put(lab(url="https://ours"), seen=before)
    assert "name: theirs" in path.read_text()
    assert editor.entry("lab").options == {"url": "https://ours"}


def test_a_save_by_others_while_we_write_is_not_lost(
    editor: SourcesEditor, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = [FILE.replace("name: one", "name: theirs")]
    fsync = os.fsync

    def save_first(handle: int) -> None:
        if theirs:
            path.write_text(theirs.pop())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", save_first)
    editor.remove("lab", seen=seen(editor, "lab"))
    assert "name: theirs" in path.read_text()
    assert "source: lab" not in path.read_text()


def test_what_is_meant_elsewhere_too_is_not_changed_for_one(path: Path) -> None:
    text = (
        "- source: a\n  type: proxmox\n  url: &url https://x\n  timeout: 5\n"
        "- source: lab\n  type: proxmox\n  url: *url\n"
    )
    path.write_text(text)
    editor = SourcesEditor(path)
    with pytest.raises(ConfigError, match="without changing more"):
        editor.put(
            SourceEntry(SourceName("a"), "proxmox", {"url": "https://y", "timeout": "5"}),
            seen=seen(editor, "a"),
        )
    assert path.read_text() == text
    editor.put(lab(url="https://y"), seen=seen(editor, "lab"))
    assert path.read_text() == text.replace("*url", "https://y")


def test_what_was_merged_in_can_be_said_otherwise_but_not_taken_out(path: Path) -> None:
    path.write_text(
        "- source: lab\n  type: proxmox\n  <<: &all {url: https://x, timeout: 5}\n"
        "- source: b\n  type: proxmox\n  <<: *all\n"
    )
    editor = SourcesEditor(path)
    entry = SourceEntry(SourceName("b"), "proxmox", {"url": "https://y", "timeout": "5"})
    editor.put(entry, seen=seen(editor, "b"))
    assert editor.entry("b").options == entry.options
    with pytest.raises(ConfigError, match="by hand"):
        editor.put(
            SourceEntry(SourceName("b"), "proxmox", {"url": "https://y"}), seen=seen(editor, "b")
        )
    assert editor.entry("lab").options == {"url": "https://x", "timeout": "5"}


@pytest.mark.parametrize(
    "text", ["- source: [", "just: a map\n", "- source: a\n  type: x\n- source: a\n  type: y\n"]
)
def test_a_file_that_cannot_be_read_is_not_written(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError):
        SourcesEditor(path).put(lab(url="x"), seen="")
    assert path.read_text() == text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_to_is_named(editor: SourcesEditor, path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
            editor.remove("lab", seen=seen(editor, "lab"))
    finally:
        path.parent.chmod(0o700)
    assert path.read_text() == FILE


def test_names_that_are_taken_or_none_are_refused(editor: SourcesEditor, path: Path) -> None:
    for name in ("debug", "here", "sources.yaml", "a/b", " a", "a\x1bb"):
        with pytest.raises(UsageError):
            editor.put(SourceEntry(SourceName(name), "ovirt", {}), seen="")
    for name in ("lab", "here"):
        with pytest.raises(UsageError, match="is no static source"):
            editor.put_console(name, {"uuid": "1", "name": "x"})
    with pytest.raises(UsageError, match="lists that uuid already"):
        editor.put_console("debug", {"uuid": "AAAA", "name": "x"})
    with pytest.raises(UsageError, match="without an entry"):
        editor.remove("here", seen="")
    with pytest.raises(NotFound):
        editor.remove("nobody", seen="")
    with pytest.raises(NotFound):
        editor.remove_console("debug", "eeee", seen="")
    assert path.read_text() == FILE


ENTRY = st.sampled_from(
    [
        "- source: S{n}\n  type: ovirt\n  url: https://x   # u{n}\n  # t{n}\n",
        "-\n  # in{n}\n  source: S{n}\n  type: 'ovirt'\n  url: >-\n    https://x\n    y\n",
        "- {{type: ovirt, source: S{n}, url: [a, b]}} # flow{n}\n",
        "-   type: ovirt\n    source: S{n}\n    url: |\n      pem\n      pem\n\n    timeout: 5\n",
        "- source: S{n}\n  type: ovirt\n  url:\n  - a # one{n}\n  # between{n}\n  - b\n",
        '- "source": S{n}\n  "type": ovirt\n  "url": "a\\\n    b" # cont{n}\n\n\n# gap{n}\n',
    ]
)
VALUE = st.one_of(
    st.text(max_size=12), st.integers(), st.booleans(), st.lists(st.text(max_size=4), max_size=3)
)


@given(
    entries=st.lists(ENTRY, min_size=1, max_size=4),
    place=st.integers(0, 3),
    value=VALUE,
    removed=st.booleans(),
    crlf=st.booleans(),
)
def test_no_change_touches_another_entry_or_a_comment(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[str],
    place: int,
    value: object,
    removed: bool,
    crlf: bool,
) -> None:
    text = "# head\n" + "".join(entry.format(n=n) for n, entry in enumerate(entries)) + "# foot"
    path = tmp_path_factory.mktemp("edit") / "sources.yaml"
    path.write_bytes(text.replace("\n", "\r\n" if crlf else "\n").encode())
    editor, name = SourcesEditor(path), f"S{place % len(entries)}"
    others = [e for e in read_sources(path).entries if e.name != name]
    with contextlib.suppress(BrokerError):  # YAML itself cannot hold some text
        if removed:
            editor.remove(name, seen=seen(editor, name))
        else:
            options = {"password": value, "url": value}
            editor.put(SourceEntry(SourceName(name), "ovirt", options), seen=seen(editor, name))
            assert editor.entry(name).options == editing.as_text(options)
    assert [e for e in read_sources(path).entries if e.name != name] == others
    after = path.read_text()
    assert {"head", "foot"} <= set(comments(after))
    lost = [c for c in comments(text) if c not in comments(after)]
    inside = entries[place % len(entries)].format(n=place % len(entries))
    assert set(lost) <= set(comments(inside))


def comments(text: str) -> list[str]:
    return [line.split("#", 1)[1].strip() for line in text.splitlines() if "#" in line]
