"""The interface in a browser: who gets in, and that what is behind the door is the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType

from tui.web import FOCUS, Guarded, listen

SECONDS = 60.0


@pytest.fixture
async def server(broker_home: Path) -> AsyncIterator[Guarded]:
    """Serving, on a free port."""
    stop = asyncio.Event()
    with listen(0) as sock:
        made = Guarded(sock)
        async with asyncio.TaskGroup() as group:
            group.create_task(made.serve_until(stop))
            await asyncio.sleep(0)
            yield made
            stop.set()


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    """One without cookies yet."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def status(browser: ClientSession, url: str, **headers: str) -> int:
    async with browser.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status


async def test_nobody_gets_in_without_the_token(server: Guarded, browser: ClientSession) -> None:
    base = server.public_url
    for path in ("/", "/ws", "/static/js/textual.js", "/?token=wrong", "/?token="):
        assert await status(browser, base + path) == 403
    forged = {"Cookie": f"{server.cookie}=guess"}
    assert await status(browser, base + "/", **forged) == 403


async def test_the_token_opens_the_door_once_and_leaves_the_address(
    server: Guarded, browser: ClientSession
) -> None:
    async with browser.get(server.address) as page:
        assert page.status == 200
        assert "token" not in str(page.url)
        assert server.token not in await page.text()
        assert page.headers["Referrer-Policy"] == "no-referrer"


async def test_two_of_us_do_not_put_each_other_out(server: Guarded, browser: ClientSession) -> None:
    stop = asyncio.Event()
    with listen(0) as sock:
        other = Guarded(sock)
        async with asyncio.TaskGroup() as group:
            group.create_task(other.serve_until(stop))
            for one in (server, other):
                assert await status(browser, one.address) == 303
            seen = [await status(browser, one.public_url) for one in (server, other)]
            stop.set()
    assert seen == [200, 200]


async def test_its_page_takes_keys_at_once_and_asks_nobody_else(
    server: Guarded, browser: ClientSession
) -> None:
    async with browser.get(server.address) as page:
        text = await page.text()
        policy = page.headers["Content-Security-Policy"]
    assert f"{FOCUS}</body>" in text
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["style-src"] == "'self' 'unsafe-inline'"
    assert f"{server.public_url.replace('http', 'ws').rpartition(':')[0]}:*" in policy


async def test_other_names_of_this_host_and_pages_of_others_are_refused(
    server: Guarded, browser: ClientSession
) -> None:
    assert await status(browser, server.address, Host=f"evil.example:{server.port}") == 403
    async with browser.get(server.address) as page:
        assert page.status == 200
    foreign = {"Origin": "http://evil.example"}
    assert await status(browser, server.public_url + "/", **foreign) == 403
    assert await status(browser, server.public_url + "/ws", **foreign) == 403


async def test_it_listens_on_the_loopback_alone(server: Guarded) -> None:
    assert server._sock.getsockname()[0] == "127.0.0.1"


async def test_behind_the_door_is_the_list_and_it_hears_keys(
    server: Guarded, browser: ClientSession
) -> None:
    async with browser.get(server.address) as page:
        assert page.status == 200
    seen = b""
    async with (
        asyncio.timeout(SECONDS),
        browser.ws_connect(f"{server.public_url}/ws?width=100&height=30") as socket,
    ):
        asked = False
        while b"Keys: Consoles" not in seen:
            message = await socket.receive()
            assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), seen[-2000:]
            seen += message.data if isinstance(message.data, bytes) else message.data.encode()
            if b"No consoles yet" in seen and not asked:
                asked = True
                await socket.send_json(["stdin", "?"])
        await socket.send_json(["stdin", "q"])
