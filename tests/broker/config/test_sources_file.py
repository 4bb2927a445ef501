from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config.sources_file import (
    SourceEntry,
    SourcesFile,
    default_entries,
    fingerprint,
    read_sources,
)
from broker.errors import ConfigError
from broker.model import SourceName

SECRET = "s3cr3t-ticket"


@pytest.fixture
def path(broker_home: Path) -> Path:
    return broker_home / "sources.yaml"


def read(path: Path, text: str, types: tuple[str, ...] | None = None) -> SourcesFile:
    path.write_text(text)
    path.chmod(0o600)
    return read_sources(path, types=types)


def test_a_missing_file_gives_the_local_source(path: Path) -> None:
    assert read_sources(path) == SourcesFile(default_entries())


@pytest.mark.parametrize("text", ["", "# none yet\n", "[]", "~"])
def test_an_empty_file_gives_the_local_source(path: Path, text: str) -> None:
    assert read(path, text).entries == (SourceEntry(SourceName("here"), "local"),)


def test_entries_keep_their_order_and_the_local_source_comes_last(path: Path) -> None:
    found = read(path, "- {source: b, type: static, consoles: []}\n- {source: a, type: static}\n")
    assert [(entry.name, entry.type) for entry in found.entries] == [
        ("b", "static"),
        ("a", "static"),
        ("here", "local"),
    ]
    assert found.entries[0].options == {"consoles": []}


def test_a_listed_local_source_keeps_its_name_and_place(path: Path) -> None:
    found = read(path, "- {source: mine, type: local, qemu: q}\n- {source: a, type: static}\n")
    assert [entry.name for entry in found.entries] == ["mine", "a"]


def test_another_source_called_here_keeps_its_name(path: Path) -> None:
    found = read(path, "- {source: here, type: static}\n")
    assert [(entry.name, entry.type) for entry in found.entries] == [
        ("here", "static"),
        ("local", "local"),
    ]


def test_numbers_words_and_dates_are_the_text_that_stands_there(path: Path) -> None:
    text = (
        "- source: 012\n  type: static\n  a: 012345\n  b: 1_000\n  c: 12:34\n  d: on\n"
        "  e: 2026-11-21\n  f: 1e3\n  g: null\n  h:\n  i: ''\n"
    )
    entry = read(path, text).entries[0]
    assert entry.name == "012"
    assert entry.options == {
        "a": "012345",
        "b": "1_000",
        "c": "12:34",
        "d": "on",
        "e": "2026-11-21",
        "f": "1e3",
        "g": None,
        "h": "",
        "i": "",
    }


def test_anchors_and_merge_keys_work(path: Path) -> None:
    found = read(path, "- &a {source: a, type: static, x: y}\n- {<<: *a, source: b}\n")
    assert found.entries[1].options == {"x": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b", "must be a list of sources"),
        ("- 5", "entry 1 is not a source"),
        ("- {type: static}", "entry 1 does not say its source. Add `source: lab`"),
        ("- {sorce: a, type: static}", "Write `source` instead of `sorce`"),
        ("- {source: a}", "entry 1 does not say its type"),
        ("- {source: , type: static}", "entry 1 does not say its source"),
        ("- {source: a/b, type: static}", "'a/b' cannot be the name of a source"),
        ('- {source: "a\\nb", type: static}', "cannot be the name of a source"),
        (
            "- {source: a, type: static}\n- {source: a, type: x}",
            "entries 1 and 2 are both called a",
        ),
        (
            "- {source: a, type: local}\n- {source: b, type: local}",
            "a and b are both of type local",
        ),
        ("- {source: a, type: statc}", "which nobody knows. Did you mean static?"),
        ("- {source: a, type: zzz}", "There are: local, static"),
        ("- source: a\n  source: b", ":2: is not YAML: a key stands here for the second time"),
        ("- ? [a]\n  : b", ":1: is not YAML"),
        ("- {source: a, 5: b, type: static, ? !!int 5 : c}", "has a key that is no text"),
        ("- a\n- \x01", "a character that YAML does not allow"),
    ],
)
def test_a_mistake_is_named_with_its_fix(path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, text, ("local", "static"))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "text",
    [
        f"- source: a\n  ticket: *{SECRET}",
        f"- source: a\n  ticket: !{SECRET} x",
        f"- source: a\n ticket: x: {SECRET}",
        f"- source: a\n  ticket: '{SECRET}",
        f"- source: a\n  ticket: @{SECRET}",
        f"- source: a\n  ticket: %{SECRET}",
        f"%{SECRET} x\n---\n- a",
        f"- ticket: {SECRET}\n  {SECRET}",
        f"{SECRET}\n- a: b",
        f"- {SECRET}",
    ],
)
def test_no_error_quotes_what_may_be_a_ticket(path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, text)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("depth", [100, 5000, 100_000])
def test_brackets_without_end_are_no_crash(path: Path, depth: int) -> None:
    with pytest.raises(ConfigError):
        read(path, "- " + "[" * depth + "]" * depth)


@given(st.text(max_size=60))
def test_no_text_gives_anything_but_sources_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(ConfigError):
        assert read_sources(path).entries


def test_what_is_no_text_is_a_config_error(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_sources(path)


def test_a_file_with_tickets_that_others_can_read_is_a_warning(path: Path) -> None:
    read(path, "- {source: a, type: static, consoles: [{ticket: x}]}")
    path.chmod(0o644)
    (warning,) = read_sources(path).warnings
    assert f"chmod 600 {path}" in warning


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_who_may_read_it_is_told_from_its_mode(path: Path, mode: int) -> None:
    read(path, "- {source: a, type: static, consoles: [{ticket: x}]}")
    path.chmod(mode)
    assert bool(read_sources(path).warnings) is (mode == 0o640)


def test_a_file_without_secrets_may_be_read_by_all(path: Path) -> None:
    read(path, "- {source: a, type: static, consoles: []}")
    path.chmod(0o644)
    assert read_sources(path).warnings == ()


def test_a_representation_shows_no_options(path: Path) -> None:
    assert SECRET not in repr(read(path, f"- {{source: a, type: static, ticket: {SECRET}}}"))


def test_the_fingerprint_changes_with_the_file_and_only_then(path: Path) -> None:
    missing = fingerprint(path)
    path.write_text("a")
    first = fingerprint(path)
    assert missing
    assert len({missing, first}) == 2
    assert fingerprint(path) == first
    path.write_text("ab")
    assert fingerprint(path) not in (missing, first)


def test_a_fingerprint_is_never_an_error(path: Path) -> None:
    assert fingerprint(path / "x" / "y")
    path.write_text("")
    assert fingerprint(path / "below a file")
