"""What an entry of type libvirt may say."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from sources.options import CaSource, MaybeText, Secret, SourceOptions, Text


class LibvirtOptions(SourceOptions):
    """An entry of type libvirt."""

    uri: Text
    """Libvirt's own: qemu:///system, qemu+ssh://user@host/system, qemu+tls://host/system, …"""
    username: MaybeText = None
    """Whom to log in as, where the daemon asks for that (SASL)."""
    password: Secret | None = None
    """The password of that user."""
    pki: MaybeText = None
    """Directory with cacert.pem, clientcert.pem and clientkey.pem for qemu+tls."""
    spice_host: MaybeText = None
    """Name or address of the host for SPICE, where it is not that of the URI."""
    ca_cert: CaSource = None
    """CA of the certificates that the host's SPICE servers show."""
    host_subject: MaybeText = None
    """Subject those certificates must have; without it they must be good for the host's name."""
    ticket_seconds: int = Field(default=60, ge=10, le=3600)
    """How long the password made for a session opens channels, in seconds."""

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("has one of username and password; give both")
        return self
