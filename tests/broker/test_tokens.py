from __future__ import annotations

import hashlib

import pytest

from broker import tokens


def test_a_token_is_48_ascii_letters_and_digits() -> None:
    token = tokens.mint()
    assert len(token) == 48
    assert token.isascii()
    assert token.isalnum()


def test_no_two_tokens_are_alike() -> None:
    assert len({tokens.mint() for _ in range(1000)}) == 1000


def test_every_letter_and_digit_comes_up() -> None:
    seen = set("".join(tokens.mint() for _ in range(500)))
    assert len(seen) == 62


def test_a_digest_is_the_sha_256_of_the_token() -> None:
    assert tokens.digest("abc") == hashlib.sha256(b"abc").digest()


@pytest.mark.parametrize("text", ["", "\0", "ä€", "\ud800", "x" * 100_000])
def test_whatever_a_viewer_sends_has_a_digest(text: str) -> None:
    assert len(tokens.digest(text)) == 32


def test_a_session_id_is_twelve_small_letters_and_digits() -> None:
    session = tokens.session_id()
    assert len(session) == 12
    assert session.isascii()
    assert session.isalnum()
    assert session == session.lower()
