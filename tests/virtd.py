"""A libvirt daemon of our own, with real QEMU domains: unprivileged, in a directory, on loopback.

Started from root it runs as `nobody`: `qemu:///session` is not for root. Whoever uses it speaks to
its socket by `qemu:///session?socket=PATH`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from tests.broker.proxy.qemu import free_port
from tests.hand import listens

NOBODY = 65534
SECONDS = 60.0
DAEMON = shutil.which("libvirtd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

UUID = "6f4e2c1a-1111-4222-8333-00000000000{}"

DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
 <memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
 <devices><controller type='usb' model='none'/><memballoon model='none'/>
  {disk}<serial type='pty'/>
  <graphics type='vnc' socket='{vnc}'/>
  {graphics}
  <video><model type='vga'/></video></devices></domain>"""

PLAIN = "<graphics type='spice' autoport='yes' listen='127.0.0.1'/>"
TLS_ONLY = (
    "<graphics type='spice' autoport='yes' listen='127.0.0.1' defaultMode='secure' passwd='first'/>"
)


@dataclass
class Virtd:
    """A daemon that runs."""

    root: Path
    tcp_port: int
    tls_port: int
    ca: trustme.CA
    pki: Path
    """For clients."""
    process: subprocess.Popen[bytes] | None = None
    defined: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"qemu:///session?socket={self.socket}"

    @property
    def tcp_uri(self) -> str:
        return f"qemu+tcp://127.0.0.1:{self.tcp_port}/session"

    @property
    def tls_uri(self) -> str:
        return f"qemu+tls://127.0.0.1:{self.tls_port}/session"

    @property
    def socket(self) -> Path:
        return self.root / "run" / "libvirt" / "libvirt-sock"

    @property
    def ca_pem(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    def start(self) -> None:
        assert DAEMON is not None
        self.socket.unlink(missing_ok=True)
        env = {
            "HOME": str(self.root / "home"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [DAEMON, "--listen", "-f", str(self.root / "libvirtd.conf")],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **user,
            )
        deadline = time.monotonic() + SECONDS
        doors: tuple[Path | int, ...] = (self.socket, self.tcp_port, self.tls_port)
        while not all(map(listens, doors)):
            assert self.process.poll() is None, (self.root / "log").read_text()
            assert time.monotonic() < deadline, (self.root / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon; its domains live on, as they do."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(SECONDS)
            self.process = None

    def restart(self) -> None:
        self.stop(signal.SIGKILL)
        self.start()

    @contextlib.contextmanager
    def asked(self) -> Iterator[Any]:
        """A connection of the test's own."""
        import libvirt

        connection = libvirt.open(self.uri)
        try:
            yield connection
        finally:
            connection.close()

    def define(self, name: str, number: int, graphics: str, disk: Path | None = None) -> str:
        """A domain that is off; its uuid."""
        drive = ""
        if disk is not None:
            copy = self.root / f"{name}.img"
            shutil.copy(disk, copy)
            copy.chmod(0o666)
            drive = (
                f"<disk type='file'><driver name='qemu' type='raw'/><source file='{copy}'/>"
                "<target dev='hda'/></disk>"
            )
        uuid = UUID.format(number)
        vnc = self.root / f"{name}.vnc"
        xml = DOMAIN.format(name=name, uuid=uuid, disk=drive, graphics=graphics, vnc=vnc)
        with self.asked() as connection:
            connection.defineXML(xml)
        return uuid

    def end_domains(self) -> None:
        import libvirt

        with contextlib.suppress(libvirt.libvirtError), self.asked() as connection:
            for each in connection.listAllDomains(0):
                if each.isActive():
                    each.destroy()


@contextlib.contextmanager
def running_virtd() -> Iterator[Virtd]:
    """A daemon with listeners for TCP and TLS on 127.0.0.1, and all that it needs."""
    root = Path(tempfile.mkdtemp(prefix="vd"))  # short: sockets of QEMU are below it
    try:
        root.chmod(0o755)
        ca = trustme.CA()
        daemon = Virtd(root, free_port(), free_port(), ca, root / "client")
        _prepare(daemon)
        daemon.start()
        try:
            yield daemon
        finally:
            if daemon.process is None or daemon.process.poll() is not None:
                daemon.start()
            daemon.end_domains()
            daemon.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _prepare(daemon: Virtd) -> None:
    root, ca = daemon.root, daemon.ca
    settings = root / "home" / ".config" / "libvirt"
    server = root / "pki"
    for each in (settings, root / "run", server, daemon.pki):
        each.mkdir(parents=True)
    of_server = ca.issue_cert("127.0.0.1", "localhost", common_name="kvm-under-test")
    of_client = ca.issue_cert("client.example", common_name="client")
    for directory, cert, word in ((server, of_server, "server"), (daemon.pki, of_client, "client")):
        ca.cert_pem.write_to_path(directory / "ca-cert.pem")
        ca.cert_pem.write_to_path(directory / "cacert.pem")
        chain = b"".join(each.bytes() for each in cert.cert_chain_pems)
        for name in (f"{word}-cert.pem", f"{word}cert.pem"):
            (directory / name).write_bytes(chain)
        for name in (f"{word}-key.pem", f"{word}key.pem"):
            cert.private_key_pem.write_to_path(directory / name)
    (settings / "qemu.conf").write_text(
        f'stdio_handler = "file"\nspice_tls = 1\nspice_tls_x509_cert_dir = "{server}"\n'
    )
    (root / "libvirtd.conf").write_text(
        "listen_tcp = 1\nlisten_tls = 1\n"
        f'tcp_port = "{daemon.tcp_port}"\ntls_port = "{daemon.tls_port}"\n'
        'listen_addr = "127.0.0.1"\nauth_tcp = "none"\nauth_tls = "none"\nauth_unix_rw = "none"\n'
        f'ca_file = "{server}/cacert.pem"\ncert_file = "{server}/servercert.pem"\n'
        f'key_file = "{server}/serverkey.pem"\n'
    )
    if os.getuid() == 0:
        for each in (root, *root.rglob("*")):
            if daemon.pki not in (each, *each.parents):
                os.chown(each, NOBODY, NOBODY)
