"""Keys by name, and characters by layout: held against the keymaps that QEMU itself brings."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import UsageError
from broker.vm import keyboard, layouts
from broker.vm.keyboard import KEYS, chord, chords

KEYMAPS = Path("/usr/share/qemu/keymaps")
THEIRS = {
    "us": "en-us", "uk": "en-gb", "de": "de", "ch": "de-ch", "ch-fr": "fr-ch", "fr": "fr",
    "be": "fr-be", "es": "es", "it": "it", "pt": "pt", "br": "pt-br", "no": "no",
    "dk": "da", "fi": "fi", "pl": "pl",
}  # fmt: skip
"""Our layouts and the files QEMU has of them; its Swedish one is written by hand and old."""
SYMBOLS = {
    "exclam": "!", "quotedbl": '"', "numbersign": "#", "dollar": "$", "percent": "%",
    "ampersand": "&", "apostrophe": "'", "parenleft": "(", "parenright": ")", "asterisk": "*",
    "plus": "+", "comma": ",", "minus": "-", "period": ".", "slash": "/", "colon": ":",
    "semicolon": ";", "less": "<", "equal": "=", "greater": ">", "question": "?", "at": "@",
    "bracketleft": "[", "backslash": "\\", "bracketright": "]", "underscore": "_", "grave": "`",
    "braceleft": "{", "bar": "|", "braceright": "}", "asciitilde": "~", "asciicircum": "^",
    "EuroSign": "€", "section": "§", "sterling": "£", "eacute": "é", "udiaeresis": "ü",
    "odiaeresis": "ö", "adiaeresis": "ä", "ssharp": "ß", "ccedilla": "ç", "ntilde": "ñ",
    "aring": "å", "oslash": "ø", "ae": "æ", "lstroke": "ł", "aogonek": "ą",
    **{char: char for char in string.ascii_letters + string.digits},
}  # fmt: skip
"""Names of symbols in those files; others are not compared."""
LINE = re.compile(r"^(\w+) (0x\w+)((?: \w+)*)$")
CODE = re.compile(r'QKeyCode "(\w+)", number (0x\w+)')


def theirs(name: str) -> dict[str, set[frozenset[str]]]:
    """Which keys give each character, says QEMU."""
    keys: dict[int, str] = {}
    found: dict[str, set[frozenset[str]]] = {}
    for line in (KEYMAPS / THEIRS[name]).read_text().splitlines():
        if code := CODE.search(line):
            keys[int(code[2], 16)] = code[1]
        elif (said := LINE.match(line)) and said[1] in SYMBOLS and int(said[2], 16) in keys:
            held = {"altgr": "alt_r"}
            chord = {held.get(word, word) for word in said[3].split()} - {"numlock"}
            found.setdefault(SYMBOLS[said[1]], set()).add(
                frozenset({keys[int(said[2], 16)], *chord})
            )
    return found


@pytest.mark.skipif(not KEYMAPS.is_dir(), reason="QEMU's keymaps are not installed")
@pytest.mark.parametrize("name", THEIRS)
def test_a_layout_presses_what_qemus_keymap_says(name: str) -> None:
    known = theirs(name)
    assert len(known) >= 70
    wrong = {
        character: pressed
        for character, pressed in layouts.layout(name).items()
        if character in known
        and len(pressed) == 1
        and frozenset(pressed[0]) not in known[character]
    }
    assert wrong == {}


@pytest.mark.parametrize("name", layouts.names())
def test_every_layout_has_all_of_ascii(name: str) -> None:
    assert [
        char for char in string.printable[:95] + "\n\t" if char not in layouts.layout(name)
    ] == []


@pytest.mark.parametrize("name", layouts.names())
def test_a_layout_names_only_keys_that_qemu_knows(name: str) -> None:
    pressed = {key for each in layouts.layout(name).values() for chord in each for key in chord}
    assert pressed <= KEYS


@pytest.mark.parametrize(
    ("layout", "text", "pressed"),
    [
        ("us", "aA!", [("a",), ("shift", "a"), ("shift", "1")]),
        ("de", "yz@", [("z",), ("y",), ("alt_r", "q")]),
        ("de", "^é", [("grave_accent",), ("spc",), ("equal",), ("e",)]),
        ("fr", "a1\r\n", [("q",), ("shift", "1"), ("ret",)]),
        ("pl", "Ł", [("shift", "alt_r", "l")]),
        ("gb", "£", [("shift", "3")]),
    ],
)
def test_a_text_becomes_keys(layout: str, text: str, pressed: list[tuple[str, ...]]) -> None:
    assert chords(text, layout) == pressed


def test_a_character_that_is_not_there_names_layouts_that_have_it() -> None:
    with pytest.raises(UsageError, match=r"Character 2, 'ñ', .* layout us.* es, latam"):
        chords("añ", "us")
    with pytest.raises(UsageError) as told:
        chords("añ", "us", secret=True)
    assert "ñ" not in str(told.value)


def test_a_layout_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="'klingon' is not a keyboard layout"):
        chords("a", "klingon")


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ("ctrl-alt-delete", ("ctrl", "alt", "delete")),
        ("Ctrl+Alt+Del", ("ctrl", "alt", "delete")),
        ("enter", ("ret",)),
        ("ctrl--", ("ctrl", "minus")),
        ("-", ("minus",)),
        ("win", ("meta_l",)),
        ("alt-f4", ("alt", "f4")),
        ("bracket_left", ("bracket_left",)),
    ],
)
def test_combinations_are_read(said: str, keys: tuple[str, ...]) -> None:
    assert chord(said) == keys


@pytest.mark.parametrize("said", ["", "ctrl-", "ctrl-foo", "a-b-c-d-e-f-g-h-i", "é"])
def test_what_is_no_combination_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        chord(said)


def test_every_other_name_of_a_key_is_of_a_key() -> None:
    assert set(keyboard.ALIASES.values()) <= KEYS


@given(st.text(max_size=20), st.sampled_from(layouts.names()))
def test_a_text_is_typed_whole_or_refused(text: str, layout: str) -> None:
    try:
        pressed = chords(text, layout)
    except UsageError:
        table = layouts.layout(layout)
        assert any(char not in table for char in text.replace("\r\n", "\n").replace("\r", "\n"))
    else:
        assert len(pressed) >= len(text.replace("\r\n", "\n"))
