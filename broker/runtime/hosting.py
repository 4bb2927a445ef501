"""Hosting a proxy from a face: a supervisor process of its own, tied to us by a lease.

The lease is a pipe. When we say "end", sessions are ended in the order that is safe for their VMs
and the supervisor goes. When the pipe just closes, because we said "keep" or because we died, it
stays for the live sessions and goes when the last one has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from broker.errors import BrokerError, Unreachable
from broker.model import ProxyStatus
from broker.runtime import announce
from broker.runtime.proxy_file import AlreadyServing, read_status
from broker.within import within

START_SECONDS = 60.0
"""How long a supervisor may take to serve: imports, keys, first worker; on a busy machine."""

END = b"end\n"
"""Said on the lease: end the sessions now."""

END_SECONDS = 10.0
"""How long it may take to end all sessions and go."""


class LeasedProxy:
    """Has a proxy serving for as long as this process wants one.

    Args:
        proxy_json: Where a serving proxy announces itself.
        log_file: What the supervisor and its workers say goes here.
    """

    def __init__(self, proxy_json: Path, log_file: Path) -> None:
        self._proxy_json = proxy_json
        self._log_file = log_file
        self._lease: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._hosting = asyncio.Lock()

    def status(self) -> ProxyStatus:
        """Whether one is serving, and whether it is ours; one small read."""
        status = read_status(self._proxy_json)
        child = self._child
        if child is not None and self._lease is not None and status.pid == child.pid:
            return replace(status, ours=True)
        return status

    async def host(self) -> ProxyStatus:
        """The proxy that serves already, or one of our own.

        Raises:
            BrokerError: It could not start; the supervisor's own words.
        """
        async with self._hosting:
            status = await asyncio.to_thread(self.status)
            if status.serving:
                return status
            self._forget()
            try:
                async with within(START_SECONDS):
                    return await self._start()
            except TimeoutError as exc:
                await self._end()
                raise Unreachable(
                    f"The proxy was not ready within {START_SECONDS:g} seconds",
                    fix=f"See {self._log_file}",
                ) from exc

    async def leave(self, *, keep_sessions: bool) -> None:
        """Give up the lease; a proxy that others host is left alone."""
        async with self._hosting:
            if keep_sessions:
                self._forget()
            else:
                await self._end()

    async def _start(self) -> ProxyStatus:
        try:
            ready_read = await self._spawn()
        except OSError as exc:
            raise BrokerError(
                f"The proxy cannot be started ({exc.strerror})",
                fix=f"See that {self._log_file} can be written, and that memory is left",
            ) from exc
        document = await announce.hear(ready_read)
        if document is not None and "ready" in document:
            return await asyncio.to_thread(self.status)
        self._forget()
        if document is not None and document.get("error") == AlreadyServing.code:
            return await self._join()
        if document is not None:
            raise announce.failure(document)
        raise BrokerError("The proxy ended before it was ready", fix=f"See {self._log_file}")

    async def _spawn(self) -> int:
        """Start it, tied to us; the descriptor on which it will say whether it is ready."""
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            lease_read, lease_write = os.pipe()
            theirs.callback(os.close, lease_read)
            ours.callback(os.close, lease_write)
            ready_read, ready_write = os.pipe()
            theirs.callback(os.close, ready_write)
            ours.callback(os.close, ready_read)
            self._log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            log = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            theirs.callback(os.close, log)
            command = [sys.executable, "-P", "-m", "broker.runtime.serving"]
            command += ["--lease-fd", str(lease_read), "--ready-fd", str(ready_write)]
            self._child = await asyncio.to_thread(
                lambda: subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lease_read, ready_write),
                    start_new_session=True,
                )
            )
            ours.pop_all()
        self._lease = lease_write
        return ready_read

    async def _join(self) -> ProxyStatus:
        """Somebody else was first: wait until theirs serves."""
        while not (status := await asyncio.to_thread(self.status)).serving:  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.05)  # a file of another process: nothing tells when it appears
        return status

    async def _end(self) -> None:
        if self._lease is not None:
            with contextlib.suppress(OSError):
                os.write(self._lease, END)
            os.close(self._lease)
            self._lease = None
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._child.wait, END_SECONDS)
        self._forget()

    def _forget(self) -> None:
        """Close the lease without a word; the supervisor goes when its last session has ended."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None
        if (child := self._child) is not None:
            self._child = None
            if child.poll() is None:
                # Popen warns when it is collected before its process has ended; this one is
                # meant to outlive us.
                child.returncode = 0
