"""What a server answered: its status, its words, and its JSON, none of it taken on trust."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from broker.errors import SourceUnreachable
from broker.human import one_line
from broker.logs import redact

WORDS_MAX: Final = 240
"""Characters of a server's own words that an error repeats."""

_CHECK_URL: Final = "Check `url`: a proxy, a login page or another service may stand there"


class Row(BaseModel):
    """The base of what is read from an API: what is not named is passed over, nothing is shown."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


R = TypeVar("R", bound=Row)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole.

    Attributes:
        where: The product and its address, for people.
        asked: Method and path, without query and without secrets.
        reason: The text behind the status, which Proxmox VE says everything in.
        headers: Names in lower case.
    """

    where: str
    asked: str
    status: int
    reason: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_fine(self) -> bool:
        """Whether what was asked for was done."""
        return 200 <= self.status < 300

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people."""
        kind = self.headers.get("content-type", "").lower()
        return "html" in kind or self.body[:64].lstrip().lower().startswith((b"<!doc", b"<html"))

    def json(self) -> Any:
        """Its JSON. May take long: call it in a thread where it is a list.

        Raises:
            SourceUnreachable: It is a page, was cut off, or is no JSON.
        """
        if self.is_html:
            raise SourceUnreachable(
                f"{self.where} answers {self.asked} with a web page instead of data", fix=_CHECK_URL
            )
        try:
            return json.loads(self.body, object_hook=_breathe)
        except (ValueError, RecursionError):
            raise SourceUnreachable(
                f"{self.where} answers {self.asked} with something that is no JSON, or not all "
                f"of it ({len(self.body)} bytes)",
                fix=_CHECK_URL,
            ) from None

    def told(self) -> dict[str, Any]:
        """Its JSON object, where it is one: what an error says. Never an error itself."""
        if self.is_html:
            return {}
        try:
            found = self.json()
        except SourceUnreachable:
            return {}
        return found if isinstance(found, dict) else {}

    def read(self, model: type[R], *path: str) -> R:
        """A part of its JSON, checked.

        Args:
            path: Keys that lead to it.

        Raises:
            SourceUnreachable: It is not there, or looks otherwise.
        """
        return self.checked(model, self.dig(self.json(), *path), *path)

    def dig(self, found: Any, *path: str) -> Any:
        """What stands at the end of those keys; None where nothing does.

        Raises:
            SourceUnreachable: What they lead through is no object.
        """
        for key in path:
            if not isinstance(found, dict):
                raise self.odd(key)
            found = found.get(key)
        return found

    def checked(self, model: type[R], found: object, *path: str) -> R:
        """One object of it, checked.

        Raises:
            SourceUnreachable: It is another thing.
        """
        try:
            return model.model_validate(found)
        except ValidationError as exc:
            loc = exc.errors(include_url=False, include_input=False)[0]["loc"]
            raise self.odd(*path, *map(str, loc)) from None

    def rows(self, model: type[R], *path: str, make: Callable[[R], T | None]) -> list[T]:
        """A list of its JSON, each row checked and made into what is wanted. Takes long.

        Args:
            path: Keys that lead to the list; an absent list is an empty one.
            make: What becomes of a row; None leaves it out.

        Raises:
            SourceUnreachable: There is no list, or a row looks otherwise than it should.
        """
        found = self.dig(self.json(), *path)
        if found is None and path:
            found = []
        if not isinstance(found, list):
            raise self.odd(*path)
        made = (
            make(self.checked(model, row, *path, str(number))) for number, row in enumerate(found)
        )
        return [each for each in made if each is not None]

    def unexpected(self, words: str) -> SourceUnreachable:
        """That it answers with a status that nobody foresaw.

        Args:
            words: The server's own, made fit by `spoken`.
        """
        said = f" {words}" if words else ""
        return SourceUnreachable(
            f"{self.where} answers {self.asked} with {self.status}{said}",
            fix="Try again; if it stays so, look at its log",
        )

    def odd(self, *path: str) -> SourceUnreachable:
        """That something in it is missing or looks otherwise than the API says."""
        place = one_line(".".join(path)) or "the answer"
        return SourceUnreachable(
            f"{self.where} answers {self.asked} with data that look odd: {place}",
            fix="See that this version of it is supported",
        )


def spoken(text: str, hidden: Iterable[str] = ()) -> str:
    """A server's own words, fit for one line of a person's terminal and without secrets.

    Args:
        hidden: Secrets of ours that it might repeat.
    """
    for secret in hidden:
        if len(secret) >= 3:
            text = text.replace(secret, "…")
    words = redact(one_line(" ".join(text.split())))
    return words[:WORDS_MAX] + "…" * (len(words) > WORDS_MAX)


def _breathe(found: dict[str, Any]) -> dict[str, Any]:
    """Nothing but a call: json holds the interpreter for the whole text where it makes none.

    A list of thousands, parsed in a thread, would stop the screen for as long.
    """
    return found
