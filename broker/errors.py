"""Every error a person can be told about.

The tree splits by what the caller does next::

    BrokerError
    ├── UsageError            change the request
    │   └── ConfigError       change a file or a setting
    ├── NotFound              name something else
    │   └── Ambiguous         name it more exactly
    ├── Unreachable           try again, or mend the path to it
    │   └── SourceUnreachable
    ├── Refused               an answer, not a fault: ask someone else, or ask differently
    │   ├── SourceDenied      our credentials are no good there
    │   │   └── RightMissing  they are good, but not for that
    │   └── Occupied          somebody else is at that console
    ├── NoConsole             the machine has no screen to reach now
    ├── VmStartFailed         QEMU would not start: its own words are in `what`
    ├── VmUnresponsive        the process lives, its monitor does not answer
    ├── ViewerMissing         there is no viewer, or no display to show one on
    ├── StoreError            our database cannot be read or written
    │   └── Unwritten         what was asked for is done all the same
    └── OutcomeUnknown        interrupted: look before doing it again

Messages name the thing, the fact and the way out, and never hold a secret.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Anything a person can be told about.

    Attributes:
        what: One sentence in the user's nouns, no final period.
        fix: The next thing to do or type; empty only when nobody can do anything.
        code: Stable kebab-case name, shown in logs, JSON and problem documents.
    """

    code = "broker-error"

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}. {self.fix}" if self.fix else self.what


class UsageError(BrokerError):
    """The request itself is wrong."""

    code = "usage"


class ConfigError(UsageError):
    """A file or a setting is wrong; `what` begins with the file's path."""

    code = "config"


class NotFound(BrokerError):
    """Nothing has that name."""

    code = "not-found"


class Ambiguous(NotFound):
    """Several things have that name.

    Attributes:
        candidates: Their full names (`source/name`), for the person to choose from.
    """

    code = "ambiguous"

    def __init__(self, what: str, *, candidates: tuple[str, ...], fix: str = "") -> None:
        super().__init__(what, fix=fix or f"Name one of: {', '.join(candidates)}")
        self.candidates = candidates


class Unreachable(BrokerError):
    """Something on the way to a screen does not answer; trying again may help."""

    code = "unreachable"


class SourceUnreachable(Unreachable):
    """A source, or the hypervisor a console lives on, cannot be reached.

    Attributes:
        retry_after: Seconds for which it asked to be left alone; None when it asked for nothing.
    """

    code = "source-unreachable"

    def __init__(self, what: str, *, fix: str = "", retry_after: float | None = None) -> None:
        super().__init__(what, fix=fix)
        self.retry_after = retry_after


class Refused(BrokerError):
    """The gate said no.

    Attributes:
        reason: Stable kebab-case reason for the audit log: `token-unknown`, `token-expired`,
            `token-used`, `token-revoked`, `session-unknown`, `limit`, …
    """

    code = "refused"

    def __init__(self, what: str, *, reason: str = "refused", fix: str = "") -> None:
        super().__init__(what, fix=fix)
        self.reason = reason


class SourceDenied(Refused):
    """A source or a hypervisor refused our credentials; trying again is useless."""

    code = "source-denied"


class RightMissing(SourceDenied):
    """A source knows us, but we may not do that there.

    Attributes:
        right: What the hypervisor calls the right, as far as it says.
    """

    code = "right-missing"

    def __init__(self, what: str, *, right: str = "", fix: str = "") -> None:
        super().__init__(what, reason="right-missing", fix=fix)
        self.right = right


class Occupied(Refused):
    """Somebody else is at that console.

    Attributes:
        in_turn: Asking again in a moment may help: it is to be free soon, or waiting was asked for.
    """

    code = "occupied"

    def __init__(self, what: str, *, in_turn: bool, fix: str = "") -> None:
        super().__init__(what, reason="occupied", fix=fix)
        self.in_turn = in_turn


class NoConsole(BrokerError):
    """The machine is known, but has no screen that can be reached now."""

    code = "no-console"


def speaks_vnc(name: str) -> NoConsole:
    """The proxy speaks SPICE, and that machine does not."""
    from shlex import quote  # here, for every command imports this module

    return NoConsole(
        f"{name} speaks VNC, which the proxy does not",
        fix=f"Open it here: broker open {quote(name)}",
    )


class VmStartFailed(BrokerError):
    """QEMU did not start; `what` carries its own last words."""

    code = "vm-start-failed"


class VmUnresponsive(Unreachable):
    """QEMU runs, but its monitor does not answer in time."""

    code = "vm-unresponsive"


class ViewerMissing(BrokerError):
    """No viewer is installed, or there is no display to show one on."""

    code = "viewer-missing"


class StoreError(BrokerError):
    """The database, a key file or a directory of ours cannot be used."""

    code = "store"


class Unwritten(StoreError):
    """A machine was switched off as asked; that could not be written down."""


class OutcomeUnknown(BrokerError):
    """A command was interrupted and may or may not have had its effect."""

    code = "outcome-unknown"
