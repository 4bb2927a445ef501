"""A lab that stands behind the fakes: one real QEMU, set up as hypervisors set theirs up.

It listens on TLS and on a plain port that wants TLS, has no password until one is set by QMP, and
forgets it when told to. So tickets, their end, their being superseded, subjects and pictures are
real, and only what a fake says over HTTP is ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from broker import demo, pki
from tests.broker.proxy.qemu import BINARY, ask, free_port


@dataclass(frozen=True)
class Lab:
    """A hypervisor with one machine.

    Attributes:
        ca: Of everything in the lab: APIs and SPICE.
        subject: Of its SPICE server's certificate.
        port: Answers only that it wants TLS.
    """

    ca: trustme.CA
    subject: str
    port: int
    tls_port: int
    monitor: Path

    @property
    def ca_pem(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    async def set_password(self, password: str, *, seconds: float | None = None) -> None:
        """A new password; viewers that are in stay in.

        Args:
            seconds: For how long it is good; None for ever, 0 not at all.
        """
        await ask(self.monitor, "set_password", protocol="spice", password=password)
        time = "never" if seconds is None else f"+{seconds:.0f}" if seconds else "now"
        await ask(self.monitor, "expire_password", protocol="spice", time=time)

    async def is_alive(self) -> bool:
        """Whether its machine runs."""
        return bool((await ask(self.monitor, "query-status"))["running"])


@contextlib.contextmanager
def running_lab(*, open_to_all: bool = False) -> Iterator[Lab]:
    """One until the body ends; make it once per module, because it takes a second.

    Args:
        open_to_all: Its SPICE server asks for no password, as under Nova and Shaken Fist.
    """
    directory = Path(tempfile.mkdtemp(prefix="cbl", dir="/tmp"))
    ca = trustme.CA()
    leaf = ca.issue_cert(
        "pve1.lab.example",
        organization_name="Lab, Inc.",
        organization_unit_name="Cluster Node",
        common_name="pve1.lab.example",
    )
    ca.cert_pem.write_to_path(str(directory / "ca-cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "server-key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "server-cert.pem"))
    (directory / "secret").write_text(uuid.uuid4().hex)
    image = demo.write_image(directory / "demo.raw")
    port, tls_port = free_port(), free_port()
    ticketing = "disable-ticketing=on" if open_to_all else "password-secret=first"
    with (directory / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [
                BINARY,
                *("-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-vga", "std"),
                *("-drive", f"file={image},format=raw,snapshot=on", "-serial", "stdio"),
                *("-qmp", f"unix:{directory}/qmp,server=on,wait=off"),
                *("-object", f"secret,id=first,file={directory}/secret"),
                "-spice",
                f"addr=127.0.0.1,port={port},tls-port={tls_port},x509-dir={directory},"
                f"tls-channel=default,{ticketing}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(directory)},
        )
    assert process.stdout is not None
    try:
        said = b""
        while demo.BANNER not in said:
            more = os.read(process.stdout.fileno(), 4096)
            assert more, (directory / "stderr").read_text()
            said += more
        der = leaf.cert_chain_pems[0].bytes()
        yield Lab(ca, _subject(der), port, tls_port, directory / "qmp")
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(directory, ignore_errors=True)


def _subject(pem: bytes) -> str:
    return pki.subject_of(ssl.PEM_cert_to_DER_cert(pem.decode()))
