"""What every HTTP driver stands on, against a server that misbehaves on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trustme

import sources._http
from broker.errors import BrokerError, ConfigError, SourceDenied, SourceUnreachable
from broker.model import SourceName
from sources._http import Http
from sources._reply import Row
from sources._signing import Signed
from sources._trust import tls_context
from tests.broker.proxy.qemu import free_port
from tests.fake_clock import FakeClock
from tests.fakes import http
from tests.fakes.http import Answer, HttpServer, Request, http_server

SECRET = "s3cr3t-of-the-api"


@dataclass
class Shop:
    """Lets in whoever shows the latest token it gave out."""

    tokens: int = 0
    wrong: bool = False

    async def answer(self, request: Request) -> Answer:
        if request.path == "/login":
            if self.wrong:
                return Answer(401, {"message": f"no such password: {SECRET}"})
            self.tokens += 1
            return Answer(200, {"token": f"token-{self.tokens}"})
        if request.headers.get("authorization") != f"token-{self.tokens}":
            return Answer(401, reason="No ticket")
        if request.path == "/gone":
            return Answer(302, headers={"Location": f"https://other.example/{SECRET}"})
        return Answer(200, {"data": [{"name": "one"}, {"name": "two"}]})


@dataclass
class Rig:
    """A client of a shop."""

    shop: Shop
    server: HttpServer
    ca: trustme.CA
    clock: FakeClock = field(default_factory=FakeClock)
    waits: list[float] = field(default_factory=list)
    made: list[Http] = field(default_factory=list)

    def client(self, **changes: object) -> Http:
        """One that signs in, and waits for nothing."""
        known: dict[str, object] = {
            "source": SourceName("lab"),
            "trust": lambda: self.ca.cert_pem.bytes().decode(),
            "clock": self.clock,
            "pause": self.pause,
            "sign_in": self.sign_in,
            **changes,
        }
        self.made.append(Http("Shop", self.server.url, **known))  # type: ignore[arg-type]
        self.made[-1].hide(SECRET)
        return self.made[-1]

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def sign_in(self) -> Signed:
        client = self.made[-1]
        reply = await client.post("/login", json={"password": SECRET}, signed=False)
        if reply.status == 401:
            raise SourceDenied(f"Denied: {client.spoken(reply.body.decode())}")
        return Signed({"Authorization": reply.json()["token"]})


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    shop, ca = Shop(), trustme.CA()
    async with http_server(shop, ca) as server:
        rig = Rig(shop, server, ca)
        yield rig
        for client in rig.made:
            await client.aclose()


class Named(Row):
    name: str


async def failure(client: Http, path: str = "/list") -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        (await client.get(path)).rows(Named, "data", make=lambda row: row)
    assert SECRET not in str(caught.value)
    return caught.value


async def test_rows_are_read_and_the_token_is_got_once_for_all_who_wait(rig: Rig) -> None:
    client = rig.client()
    replies = await asyncio.gather(*(client.get("/list") for _ in range(6)))
    assert [row.name for row in replies[0].rows(Named, "data", make=lambda row: row)] == [
        "one",
        "two",
    ]
    assert len(rig.server.asked("POST", "/login")) == 1


async def test_a_token_that_ends_is_got_anew_once_and_the_request_repeated(rig: Rig) -> None:
    client = rig.client()
    await client.get("/list")
    rig.shop.tokens += 1  # what was given out is good no more
    replies = await asyncio.gather(*(client.post("/do") for _ in range(3)))
    assert [reply.status for reply in replies] == [200] * 3
    assert len(rig.server.asked("POST", "/login")) == 2


async def test_a_token_is_renewed_before_its_end(rig: Rig) -> None:
    async def short_lived() -> Signed:
        return Signed((await rig.sign_in()).headers, until=rig.clock.monotonic() + 60)

    client = rig.client(sign_in=short_lived)
    await client.get("/list")
    rig.clock.forward(59)
    await client.get("/list")
    rig.clock.forward(1)
    await client.get("/list")
    assert len(rig.server.asked("POST", "/login")) == 2
    assert not [r for r in rig.server.asked("GET") if "authorization" not in r.headers]


async def test_refused_credentials_are_left_alone_for_a_minute(rig: Rig) -> None:
    client = rig.client()
    rig.shop.wrong = True
    assert isinstance(await failure(client), SourceDenied)
    asked = len(rig.server.requests)
    assert "not tried again for 60 s" in str(await failure(client))
    rig.clock.forward(59)
    await failure(client)
    assert len(rig.server.requests) == asked
    rig.clock.forward(1)
    rig.shop.wrong = False
    assert (await client.get("/list")).is_fine


async def test_a_second_401_is_the_last(rig: Rig) -> None:
    client = rig.client()
    rig.server.upset(http.saying(Answer(401, reason="No ticket")), "GET")
    assert isinstance(await failure(client), SourceDenied)
    assert len(rig.server.asked("GET", "/list")) == 2
    await failure(client)
    assert len(rig.server.asked("GET", "/list")) == 2


async def test_a_credential_that_cannot_be_renewed_is_shown_once(rig: Rig) -> None:
    async def fixed() -> Signed:
        return Signed({"Authorization": "wrong"})

    failed = await failure(rig.client(sign_in=fixed, renews=False))
    assert "(No ticket)" in failed.what
    assert len(rig.server.requests) == 1


async def test_a_get_is_tried_thrice_and_a_post_once(rig: Rig) -> None:
    client = rig.client()
    rig.server.upset(http.saying(Answer(502)), part="/list", times=2)
    assert (await client.get("/list")).is_fine
    rig.server.upset(http.saying(Answer(502)), part="/do")
    assert (await client.post("/do")).status == 502
    assert len(rig.server.asked("POST", "/do")) == 1
    assert len(rig.waits) == 2
    assert all(0.2 <= wait <= 1 for wait in rig.waits)


async def test_a_5xx_that_is_an_answer_is_not_tried_again(rig: Rig) -> None:
    client = rig.client(answers=frozenset({500}))
    rig.server.upset(http.saying(Answer(500, reason="VM 100 not running")), part="/list")
    reply = await client.get("/list")
    assert (reply.status, reply.reason) == (500, "VM 100 not running")
    assert len(rig.server.asked("GET")) == 1


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("7", 7),
        ("3600", 30),
        ("Sat, 21 Nov 2026 08:15:12 GMT", 12),
        ("Fri, 20 Nov 2026 08:15:12 GMT", 0),
    ],
)
async def test_a_busy_server_is_given_the_time_it_asks_for_once(
    rig: Rig, said: str, wait: float
) -> None:
    client = rig.client()
    rig.server.upset(http.saying(Answer(429, headers={"Retry-After": said})), part="/do", times=1)
    assert (await client.post("/do")).is_fine
    assert rig.waits == [wait]


async def test_a_server_that_stays_busy_says_for_how_long(rig: Rig) -> None:
    client = rig.client()
    rig.server.upset(http.saying(Answer(429, headers={"Retry-After": "90"})), part="/do")
    with pytest.raises(SourceUnreachable) as caught:
        await client.post("/do")
    assert caught.value.retry_after == 90
    assert rig.waits == [30]


@pytest.mark.parametrize(
    ("upset", "words"),
    [
        (http.web_page, "with a web page instead of data"),
        (http.half_sent, "broke off in the middle of GET /list"),
        (http.half_json, "no JSON, or not all of it"),
        (http.reset, "broke off in the middle of GET /list"),
        (http.hanging, "did not answer GET /list within 0.2 s"),
        (http.saying(Answer(200, [1, 2])), "look odd: data"),
        (http.saying(Answer(200, {"data": {}})), "look odd: data"),
        (http.saying(Answer(200, {"data": [{"name": "x"}, {}]})), "look odd: data.1.name"),
        (http.saying(Answer(200, b"[" * 200_000)), "no JSON"),
        (http.saying(Answer(200, b"\xff\xfe\x00")), "no JSON"),
    ],
)
async def test_what_comes_instead_of_a_list_is_named(
    rig: Rig, upset: http.Upset, words: str
) -> None:
    client = rig.client()
    await client.sign_in()
    client.seconds = 0.2 if upset is http.hanging else 30.0
    rig.server.upset(upset, part="/list")
    failed = await failure(client)
    assert isinstance(failed, SourceUnreachable)
    assert words in failed.what
    assert failed.fix


async def test_an_answer_has_a_most(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    client = rig.client()
    await client.sign_in()
    monkeypatch.setattr(sources._http, "BODY_MAX", 1 << 20)
    rig.server.upset(http.saying(Answer(200, b"x" * 2_000_000)), part="/list")
    assert "more than 1 MiB" in (await failure(client)).what


async def test_no_redirect_is_followed_and_its_secrets_are_not_told(rig: Rig) -> None:
    failed = await failure(rig.client(), "/gone")
    assert failed.what.endswith("sends us elsewhere, to https://other.example")


async def test_the_api_must_be_signed_by_the_configured_ca(rig: Rig) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    failed = await failure(rig.client(trust=lambda: other))
    assert "is not to be trusted (unable to get local issuer certificate)" in failed.what
    assert "ca_cert" in failed.fix
    assert "is not to be trusted" in (await failure(rig.client(trust=None))).what


async def test_the_api_must_carry_its_name(rig: Rig) -> None:
    async with http_server(rig.shop, rig.ca, "other.lab.example") as server:
        rig.server = server
        assert "is not to be trusted (Hostname mismatch" in (await failure(rig.client())).what


async def test_what_does_not_listen_or_speaks_no_tls_is_told_apart(rig: Rig) -> None:
    rig.server.port = free_port()
    assert "cannot be reached (Connection refused)" in (await failure(rig.client())).what
    async with http_server(rig.shop, None) as plain:
        plain.tls = True
        rig.server = plain
        assert "cannot be reached (no TLS there" in (await failure(rig.client())).what


async def test_proxies_of_the_environment_are_not_used(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await rig.client().get("/list")).is_fine


async def test_secrets_are_in_no_log_and_no_representation(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client = rig.client()
        reply = await client.get(f"/secret/{SECRET}", params={"token": SECRET}, secret_path="/x")
    assert SECRET not in caplog.text
    assert "token-1" not in caplog.text
    assert SECRET not in repr(reply)
    assert "token-1" not in repr(Signed({"Authorization": "token-1"}, {"Authorization": "token-1"}))
    assert reply.asked == "GET /x"


def test_a_ca_must_be_one() -> None:
    with pytest.raises(ConfigError, match="ca_cert holds no certificate"):
        tls_context("nothing")


def test_of_many_secrets_the_latest_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources._http.HIDDEN_MAX", 2)
    client = Http("Shop", "https://shop.example", source=SourceName("lab"))
    for secret in ("alpha-1", "beta-2", "alpha-1", "gamma-3"):
        assert client.hide(secret) == secret
    assert client.spoken("alpha-1 beta-2 gamma-3") == "… beta-2 …"
