"""Row and noun of tokens and what they allow; the list of consoles does without."""

from __future__ import annotations

import json
from dataclasses import asdict

from broker.model import (
    LinkPolicy,
    MachineId,
    MachineKey,
    SessionId,
    SourceName,
    Token,
    WhenOccupied,
)
from broker.store.rows import Row, Values, at, moment, seconds


def to_token(row: Row) -> Token:
    """A token at rest."""
    return Token(
        digest=bytes(row["digest"]),
        key=MachineKey(SourceName(row["source"]), MachineId(row["uuid"])),
        created_at=at(row["created_at"]),
        expires_at=at(row["expires_at"]),
        label=row["label"],
        used_at=moment(row["used_at"]),
        revoked_at=moment(row["revoked_at"]),
        session=None if row["session"] is None else SessionId(row["session"]),
        policy=to_policy(row["policy"]),
    )


def from_token(token: Token) -> Values:
    """All columns."""
    return {
        "digest": token.digest,
        "source": token.key.source,
        "uuid": token.key.uuid,
        "created_at": token.created_at.timestamp(),
        "expires_at": token.expires_at.timestamp(),
        "label": token.label,
        "used_at": seconds(token.used_at),
        "revoked_at": seconds(token.revoked_at),
        "session": token.session,
        "policy": from_policy(token.policy),
    }


def to_policy(text: str) -> LinkPolicy:
    """A policy from its JSON text; a word that is not ours is an error, never passed over."""
    fields = json.loads(text)
    if "sources_from" in fields:
        fields["sources_from"] = tuple(fields["sources_from"])
    if "occupied" in fields:
        fields["occupied"] = WhenOccupied(fields["occupied"])
    return LinkPolicy(**fields)


def from_policy(policy: LinkPolicy) -> str:
    """A policy as JSON text: what differs from the default, always in the same order."""
    usual = asdict(LinkPolicy())
    return json.dumps({k: v for k, v in asdict(policy).items() if v != usual[k]})
