"""A small HTTP/1.1 server with TLS whose every byte a test decides, statuses and reasons included.

What answers is a fake of a product (`Answering`); what goes wrong on the way is an `Upset`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import trustme

from tests.streams import serving

TLS_HELLO = b"\x16"
Usual = Callable[[], Awaitable["Answer"]]


@dataclass(frozen=True)
class Request:
    """What a client asked; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def parts(self) -> tuple[str, ...]:
        """The path between its slashes, each part decoded by itself."""
        return tuple(unquote(part) for part in urlsplit(self.target).path.strip("/").split("/"))

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class Answer:
    """What is said back; `body` is JSON unless it is bytes."""

    status: int = 200
    body: object = b""
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def head_and_body(self) -> tuple[bytes, bytes]:
        headers = dict(self.headers)
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        if not isinstance(self.body, bytes):
            headers.setdefault("Content-Type", "application/json")
        headers["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {self.status} {self.reason or 'Whatever'}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode(), body


class Answering(Protocol):
    """A fake product."""

    async def answer(self, request: Request) -> Answer: ...


class Cut(Exception):
    """Raised by an upset: close the connection, after these bytes."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data


Upset = Callable[[Request, Usual], Awaitable[Answer]]


async def hanging(request: Request, usual: Usual) -> Answer:
    """Nothing is ever said."""
    await asyncio.Event().wait()
    raise AssertionError


async def web_page(request: Request, usual: Usual) -> Answer:
    """A login page of something that stands in between."""
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    return Answer(200, page, headers={"Content-Type": "text/html; charset=utf-8"})


async def half_sent(request: Request, usual: Usual) -> Answer:
    """The usual answer, cut in the middle though its length was promised."""
    head, body = (await usual()).head_and_body()
    raise Cut(head + body[: len(body) // 2])


async def half_json(request: Request, usual: Usual) -> Answer:
    """Half of the usual answer, as if that were all."""
    full = await usual()
    _, body = full.head_and_body()
    return Answer(full.status, body[: len(body) // 2], headers={"Content-Type": "application/json"})


async def reset(request: Request, usual: Usual) -> Answer:
    """Not one byte."""
    raise Cut


def saying(answer: Answer) -> Upset:
    async def say(request: Request, usual: Usual) -> Answer:
        return answer

    return say


@dataclass
class _Planned:
    upset: Upset
    method: str
    part: str
    times: int
    skip: int


@dataclass
class HttpServer:
    """Where it listens, what it was asked, and what will go wrong."""

    product: Answering
    port: int = 0
    tls: bool = True
    requests: list[Request] = field(default_factory=list)
    _planned: list[_Planned] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http{'s' * self.tls}://localhost:{self.port}"

    def asked(self, method: str = "", part: str = "") -> list[Request]:
        """Requests with that method and that part in their path."""
        return [r for r in self.requests if method in ("", r.method) and part in r.path]

    def upset(
        self, upset: Upset, method: str = "", part: str = "", *, times: int = 999, skip: int = 0
    ) -> None:
        """Have this go wrong for the next requests of that kind, after `skip` of them."""
        self._planned.append(_Planned(upset, method, part, times, skip))

    def calm(self) -> None:
        """All is well again."""
        self._planned.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                head, body = (await self._answer(request)).head_and_body()
                writer.write(head + body)
                await writer.drain()
        except Cut as cut:
            writer.write(cut.data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> Answer:
        for planned in self._planned:
            if planned.method in ("", request.method) and planned.part in request.path:
                if planned.skip:
                    planned.skip -= 1
                elif planned.times:
                    planned.times -= 1
                    return await planned.upset(request, lambda: self.product.answer(request))
        return await self.product.answer(request)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        first_byte = await reader.readexactly(1)
        if first_byte == TLS_HELLO:
            raise Cut(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        head = (first_byte + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


@contextlib.asynccontextmanager
async def http_server(
    product: Answering, ca: trustme.CA | None, name: str = "localhost"
) -> AsyncIterator[HttpServer]:
    """Serve until the body ends; without TLS where there is no CA.

    Args:
        name: What its certificate is for.
    """
    context = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
    server = HttpServer(product, tls=ca is not None)
    async with serving(server.serve, tls=context) as port:
        server.port = port
        yield server
