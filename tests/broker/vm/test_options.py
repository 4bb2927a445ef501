"""QEMU's way of writing options, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.vm.options import IMAGE, Word, masked, options, pairs, words


def test_flags_take_no_value_and_other_options_the_next_argument() -> None:
    assert list(words(["-daemonize", "-m", "64", "--name", "-odd", "disk.img", "-S"])) == [
        Word("daemonize"),
        Word("m", "64"),
        Word("name", "-odd"),
        Word(IMAGE, "disk.img"),
        Word("S"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("guest=a,,b,process=x", [("guest", "a,b"), ("process", "x")]),
        ("vm", [("guest", "vm")]),
        ("unix:/run/a=b,server,nowait",
         [("guest", "unix:/run/a=b"), ("server", "on"), ("wait", "off")]),
        ("a,,,b=c", [("guest", "a,"), ("b", "c")]),
        ("", []),
        ('{"driver": "qcow2", "file": {"filename": "/a"}, "ro": true}',
         [("driver", "qcow2"), ("file.filename", "/a"), ("ro", "on")]),
        ("{broken", []),
    ],
)  # fmt: skip
def test_a_value_is_taken_apart(text: str, found: list[tuple[str, str]]) -> None:
    assert pairs(text, "guest") == found


def test_the_last_of_a_key_counts() -> None:
    assert options("a=1,a=2") == {"a": "2"}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(min_size=1)))
def test_what_is_written_with_doubled_commas_is_read_back(wanted: dict[str, str]) -> None:
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in wanted.items())
    assert options(text) == wanted


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("port=1,password=se,,cret,addr=x", "port=1,password=***,addr=x"),
        ("secret,id=s0,data=hush", "secret,id=s0,data=***"),
        ("port=1,password-secret=s0", "port=1,password-secret=s0"),
        (":1,password=on", ":1,password=on"),
        ("file=https://joe:hush@host/a,format=raw", "file=https://joe:***@host/a,format=raw"),
        ("file=rbd:pool/img:id=joe:key=hush", "file=rbd:pool/img:id=joe:key=***"),
        ('{"qom-type": "secret", "id": "s0", "data": "hush"}',
         '{"qom-type": "secret", "id": "s0", "data": "***"}'),
        ("guest=web,debug-threads=on", "guest=web,debug-threads=on"),
        ("tls-creds-x509,id=t,dir=/etc/pki,endpoint=server",
         "tls-creds-x509,id=t,dir=/etc/pki,endpoint=server"),
    ],
)  # fmt: skip
def test_what_may_be_a_secret_is_never_shown(argument: str, shown: str) -> None:
    assert masked([argument]) == [shown]
