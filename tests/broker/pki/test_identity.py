from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from broker import pki
from broker.errors import ConfigError, StoreError
from broker.findings import Mark
from broker.proxy.tls import stdlib_context
from tests.fake_clock import FakeClock

SUBJECT = "O=Console Broker,CN=console-broker"


@pytest.fixture
def pki_dir(broker_home: Path) -> Path:
    return broker_home / "pki"


@pytest.fixture
def identity(pki_dir: Path, clock: FakeClock) -> pki.Identity:
    return pki.ensure_identity(pki_dir, ["broker.example"], clock)


def leaf_of(identity: pki.Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.server_path.read_bytes())


def names_of(identity: pki.Identity) -> set[str]:
    extension = leaf_of(identity).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in extension.value}


def handshake(identity: pki.Identity, client: ssl.SSLContext, name: str | None = None) -> bytes:
    """A real TLS handshake over a socket pair; the certificate the client saw, DER."""
    server = stdlib_context(identity.server_path)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as tls:
            seen = tls.getpeercert(binary_form=True)
            assert seen is not None
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
            tls.send(b"x")
            return seen
    finally:
        ours.close()
        thread.join()


# -- making and reading


def test_nothing_is_there_before_first_use(pki_dir: Path) -> None:
    assert pki.read_identity(pki_dir) is None
    assert not pki_dir.exists()


def test_first_use_makes_everything_for_us_alone(identity: pki.Identity, pki_dir: Path) -> None:
    assert identity.host_subject == SUBJECT
    assert identity.ca_pem == (pki_dir / "ca.pem").read_text()
    assert pki_dir.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in pki_dir.iterdir()}
    assert modes == dict.fromkeys(("ca.key", "ca.pem", "server.pem", "subject", "lock"), 0o600)


def test_reading_gives_what_was_made(identity: pki.Identity, pki_dir: Path) -> None:
    assert pki.read_identity(pki_dir) == identity


def test_reading_imports_neither_cryptography_nor_ssl(identity: pki.Identity) -> None:
    code = (
        "import sys; from pathlib import Path; from broker import pki;"
        "assert pki.read_identity(Path(sys.argv[1]));"
        "print([m for m in ('ssl', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(identity.ca_path.parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_certificate_is_good_for_the_names_asked_and_loopback(
    pki_dir: Path, clock: FakeClock
) -> None:
    asked = ["Broker.Example.", "192.0.2.1", "[2001:db8::1]", "fe80::1%eth0", "bücher.example"]
    found = names_of(pki.ensure_identity(pki_dir, [*asked, "0.0.0.0", "::", "", "a..b"], clock))
    assert found == {
        "localhost",
        "127.0.0.1",
        "::1",
        "broker.example",
        "192.0.2.1",
        "2001:db8::1",
        "fe80::1",
        "xn--bcher-kva.example",
    }


def test_nothing_is_made_again_while_it_is_good(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    before = {path: path.read_bytes() for path in pki_dir.iterdir()}
    clock.forward(300 * 86_400)
    assert pki.ensure_identity(pki_dir, ["localhost"], clock) == identity
    assert {path: path.read_bytes() for path in pki_dir.iterdir()} == before


def test_a_certificate_near_its_end_is_renewed_by_the_same_ca(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    before = leaf_of(identity)
    clock.forward(timedelta(days=340).total_seconds())
    assert pki.ensure_identity(pki_dir, [], clock) == identity
    assert leaf_of(identity).serial_number != before.serial_number
    assert leaf_of(identity).subject == before.subject
    assert "broker.example" in names_of(identity)


def test_a_new_name_is_added_to_those_there_are(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    assert pki.ensure_identity(pki_dir, ["other.example"], clock) == identity
    assert {"broker.example", "other.example"} <= names_of(identity)


def test_the_ca_is_renewed_with_the_same_key_before_it_ends(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    key = (pki_dir / "ca.key").read_bytes()
    clock.forward(timedelta(days=3640).total_seconds())
    renewed = pki.ensure_identity(pki_dir, [], clock)
    assert renewed.ca_pem != identity.ca_pem
    assert renewed.host_subject == SUBJECT
    assert (pki_dir / "ca.key").read_bytes() == key


def test_processes_that_make_it_at_once_agree(pki_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from broker import pki;"
        "from broker.clock import SystemClock;"
        "print(hash(pki.ensure_identity(Path(sys.argv[1]), ['h'], SystemClock()).ca_pem))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(pki_dir)],
            stdout=subprocess.PIPE,
            env={"PYTHONHASHSEED": "0"},
        )
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1


# -- damage


@pytest.mark.parametrize("lost", ["ca.pem", "server.pem", "subject", "lock"])
def test_what_can_be_made_again_is(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock, lost: str
) -> None:
    """Also what a kill between two files leaves behind."""
    (pki_dir / lost).unlink()
    again = pki.ensure_identity(pki_dir, [], clock)
    assert again.host_subject == SUBJECT
    client = pki.backend_context(again.ca_pem)
    assert pki.subject_matches(handshake(again, client), SUBJECT)
    old = pki.backend_context(identity.ca_pem)
    assert pki.subject_matches(handshake(again, old), SUBJECT)


def test_without_the_cas_key_it_works_until_a_certificate_is_needed(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    (pki_dir / "ca.key").unlink()
    assert pki.ensure_identity(pki_dir, [], clock) == identity
    clock.forward(timedelta(days=350).total_seconds())
    with pytest.raises(StoreError, match="the key of our CA is gone") as caught:
        pki.ensure_identity(pki_dir, [], clock)
    assert f"rm -r {pki_dir}" in caught.value.fix


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "server.pem"])
@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"\xff\xfe", None], ids=["empty", "text", "bytes", "cut"]
)
def test_a_damaged_file_is_said_with_what_to_remove_and_kept(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock, name: str, junk: bytes | None
) -> None:
    path = pki_dir / name
    left = path.read_bytes()[:150] if junk is None else junk
    path.write_bytes(left)
    with pytest.raises(StoreError, match=name) as caught:
        pki.ensure_identity(pki_dir, [], clock)
    assert "rm " in caught.value.fix
    assert path.read_bytes() == left


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "server.pem"])
def test_doing_what_the_error_says_mends_it(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock, name: str
) -> None:
    (pki_dir / name).write_text("junk")
    with pytest.raises(StoreError) as caught:
        pki.ensure_identity(pki_dir, [], clock)
    if f"rm -r {pki_dir}" in caught.value.fix:
        shutil.rmtree(pki_dir)
    else:
        assert f"rm {pki_dir / name}" in caught.value.fix
        (pki_dir / name).unlink()
    stdlib_context(pki.ensure_identity(pki_dir, [], clock).server_path)


def test_a_key_of_another_ca_is_said(
    identity: pki.Identity, pki_dir: Path, broker_home: Path, clock: FakeClock
) -> None:
    other = pki.ensure_identity(broker_home / "other", [], clock)
    shutil.copy(other.ca_path.with_name("ca.key"), pki_dir / "ca.key")
    with pytest.raises(StoreError, match=r"ca\.key is not the key of ca\.pem"):
        pki.ensure_identity(pki_dir, [], clock)


def test_a_certificate_of_another_ca_is_made_again(
    identity: pki.Identity, pki_dir: Path, broker_home: Path, clock: FakeClock
) -> None:
    other = pki.ensure_identity(broker_home / "other", [], clock)
    shutil.copy(other.server_path, identity.server_path)
    pki.ensure_identity(pki_dir, [], clock)
    handshake(identity, pki.backend_context(identity.ca_pem))


@pytest.mark.parametrize("junk", ["", "junk", "-----BEGIN CERTIFICATE-----\nMIIB\n"])
def test_a_damaged_ca_is_not_put_into_a_vv_file(
    identity: pki.Identity, pki_dir: Path, junk: str
) -> None:
    (pki_dir / "ca.pem").write_text(junk)
    with pytest.raises(StoreError, match=r"ca\.pem"):
        pki.read_identity(pki_dir)


def test_a_damaged_subject_is_written_again(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    (pki_dir / "subject").write_bytes(b"\xff")
    assert pki.read_identity(pki_dir) is None
    assert pki.ensure_identity(pki_dir, [], clock) == identity


def test_a_file_in_its_place_is_said(pki_dir: Path, clock: FakeClock) -> None:
    pki_dir.write_text("")
    with pytest.raises(StoreError, match="cannot be read or made"):
        pki.ensure_identity(pki_dir, [], clock)


def test_rights_of_others_are_taken_away(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    pki_dir.chmod(0o755)
    (pki_dir / "ca.key").chmod(0o644)
    pki.ensure_identity(pki_dir, [], clock)
    assert pki_dir.stat().st_mode & 0o777 == 0o700
    assert (pki_dir / "ca.key").stat().st_mode & 0o777 == 0o600


# -- contexts


def test_a_viewer_that_checks_the_name_is_content(identity: pki.Identity) -> None:
    viewer = ssl.create_default_context(cadata=identity.ca_pem)
    seen = handshake(identity, viewer, "broker.example")
    assert pki.subject_of(seen) == identity.host_subject


def test_a_viewer_that_trusts_another_ca_refuses(
    identity: pki.Identity, broker_home: Path, clock: FakeClock
) -> None:
    other = pki.ensure_identity(broker_home / "other", [], clock)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(identity, pki.backend_context(other.ca_pem))


def test_no_hypervisor_is_asked_in_anything_older_than_tls_1_2() -> None:
    assert pki.backend_context(None).minimum_version is ssl.TLSVersion.TLSv1_2
    assert pki.backend_context(None).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("pem", ["", "junk", "ä", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_backends_ca_without_a_certificate_is_a_config_error(pem: str) -> None:
    with pytest.raises(ConfigError, match="holds no certificate"):
        pki.backend_context(pem)


def test_a_certificate_tells_whom_it_is_for_and_until_when(
    identity: pki.Identity, pki_dir: Path, clock: FakeClock
) -> None:
    facts = pki.server_facts(pki_dir)
    assert facts is not None
    assert facts.subject == identity.host_subject == SUBJECT
    assert {"broker.example", "localhost", "127.0.0.1", "::1"} == set(facts.names)
    assert facts.issuer == "O=Console Broker,CN=Console Broker CA"
    assert (
        facts.fingerprint.replace(":", "") == leaf_of(identity).fingerprint(SHA256()).hex().upper()
    )
    assert facts.judged(clock.now()).mark is Mark.OK
    for days, mark in ((340, Mark.OK), (352, Mark.WARN), (365, Mark.FAIL), (-3, Mark.FAIL)):
        judged = facts.judged(clock.now() + timedelta(days=days))
        assert judged.mark is mark, days
        assert bool(judged.fix) is (mark is not Mark.OK)


def test_no_certificate_and_a_damaged_one_are_told_apart(pki_dir: Path) -> None:
    assert pki.server_facts(pki_dir) is None
    pki_dir.mkdir()
    (pki_dir / "server.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    with pytest.raises(StoreError, match=r"server\.pem"):
        pki.server_facts(pki_dir)
