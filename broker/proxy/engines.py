"""Chooses the TLS engine for viewers (ADR 1)."""

from __future__ import annotations

from pathlib import Path

from broker.proxy.tls import StdlibServer, TlsServer, stdlib_context


def server(pem_path: Path) -> TlsServer:
    """The fastest TLS there is, at least 1.2, with the key and certificate chain in `pem_path`.

    Raises:
        StoreError: The file cannot be used.
    """
    try:
        from broker.proxy.fast_tls import FastServer  # optional: ADR 1
    except ImportError:
        return StdlibServer(stdlib_context(pem_path))
    return FastServer(pem_path)
