"""How an API's certificate is judged, and what a connection that failed says of itself."""

from __future__ import annotations

import os
import ssl

from broker.errors import ConfigError


def tls_context(ca_pem: str | None) -> ssl.SSLContext:
    """How an API's certificate is judged: chain and name, always.

    Raises:
        ConfigError: `ca_pem` holds no certificate.
    """
    if ca_pem is None:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Private CAs are often old: no key identifiers, which newer Pythons insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=ca_pem.encode("ascii", "replace").decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            "ca_cert holds no certificate", fix="Give PEM text, or the path of a file with it"
        ) from None
    return context


def _chain(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = exc
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def distrust(exc: BaseException) -> str | None:
    """Why a certificate was not believed, when that is what happened."""
    for each in _chain(exc):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message.rstrip(".")
    return None


def reason(exc: BaseException) -> str:
    """What the operating system, the resolver or TLS said."""
    for each in reversed(_chain(exc)):
        if isinstance(each, ssl.SSLError):
            return f"no TLS there: {each.reason or 'broken off'}"
        if isinstance(each, OSError) and each.errno:
            return os.strerror(each.errno) if each.errno > 0 else each.strerror or ""
    return ""
