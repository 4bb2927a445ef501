"""Where files live: the XDG directories, or all below `BROKER_HOME`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.errors import ConfigError, StoreError
from broker.typed_path import expanded

NAME = "console-broker"
"""Our directory's name below each XDG directory."""

SOCKET_PATH_MAX = 107
"""Bytes of the longest path a unix socket can have on Linux."""

SOCKET_ROOM = len("/vms/0123456789ab/serial.sock")
"""Bytes that a VM's sockets need below the runtime directory."""


@dataclass(frozen=True, slots=True)
class Locations:
    """The four directories of ours, and the files in them.

    Attributes:
        config_dir: What the person writes.
        data_dir: Durable files: disks and firmware variables of local VMs.
        state_dir: The database, keys, logs.
        runtime_dir: Sockets and pidfiles; gone after a reboot.
        shared_parent: `runtime_dir` lies in a directory that everybody may write to.
    """

    config_dir: Path
    data_dir: Path
    state_dir: Path
    runtime_dir: Path
    shared_parent: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Locations:
        """The directories as the environment says; nothing is made and nothing is looked at.

        `BROKER_HOME=DIR` puts all four below DIR, else the XDG variables count when they are
        absolute paths. Without XDG_RUNTIME_DIR the runtime directory is below /tmp, by user id.

        Raises:
            ConfigError: There is no home directory to start from, or no user of that name.
        """
        env = os.environ if env is None else env
        if home := env.get("BROKER_HOME"):
            base = expanded(home)
            if str(base).startswith("~"):
                raise ConfigError(
                    f"BROKER_HOME is {home}, and there is no such user",
                    fix="Write the directory out: /home/…",
                )
            base = base.absolute()
            return cls(base / "config", base / "data", base / "state", base / "run")
        runtime = _xdg(env, "XDG_RUNTIME_DIR")
        return cls(
            config_dir=(_xdg(env, "XDG_CONFIG_HOME") or _home(env) / ".config") / NAME,
            data_dir=(_xdg(env, "XDG_DATA_HOME") or _home(env) / ".local/share") / NAME,
            state_dir=(_xdg(env, "XDG_STATE_HOME") or _home(env) / ".local/state") / NAME,
            runtime_dir=runtime / NAME if runtime else Path(f"/tmp/{NAME}-{os.getuid()}"),  # noqa: S108 - checked by prepare()
            shared_parent=runtime is None,
        )

    @property
    def broker_yaml(self) -> Path:
        """Settings."""
        return self.config_dir / "broker.yaml"

    @property
    def sources_yaml(self) -> Path:
        """The list of sources."""
        return self.config_dir / "sources.yaml"

    @property
    def keys_yaml(self) -> Path:
        """The person's own keys for the TUI."""
        return self.config_dir / "keys.yaml"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.state_dir / "broker.db"

    @property
    def pki_dir(self) -> Path:
        """Our CA and the proxy's certificate."""
        return self.state_dir / "pki"

    @property
    def secret_key(self) -> Path:
        """The key that tickets are sealed with."""
        return self.state_dir / "secret.key"

    @property
    def logs_dir(self) -> Path:
        """Log files of the TUI and of relay workers."""
        return self.state_dir / "logs"

    @property
    def settings_cache(self) -> Path:
        """Checked settings, so that the next start need not read YAML."""
        return self.state_dir / "settings.json"

    @property
    def proxy_json(self) -> Path:
        """Where the running proxy says what it serves."""
        return self.runtime_dir / "proxy.json"

    @property
    def proxy_sock(self) -> Path:
        """Where the running proxy takes what this user's own programs show, without TLS."""
        return self.runtime_dir / "proxy.sock"

    def prepare(self) -> None:
        """Make the four directories, mode 0700, and see that they are ours alone. Cheap.

        Raises:
            ConfigError: One belongs to somebody else, others may write to it, it is no directory,
                or the runtime directory's path is too long for unix sockets.
            StoreError: One cannot be made or written: read-only or full disk, no permission.
        """
        for directory in (self.config_dir, self.data_dir, self.state_dir, self.runtime_dir):
            _make(directory)
        shared = self.runtime_dir if self.shared_parent else None
        _check(self.config_dir, "XDG_CONFIG_HOME", private=False)
        _check(self.data_dir, "XDG_DATA_HOME")
        _check(self.state_dir, "XDG_STATE_HOME")
        _check(self.runtime_dir, "XDG_RUNTIME_DIR", no_link=shared is not None)
        if len(os.fsencode(self.runtime_dir)) + SOCKET_ROOM > SOCKET_PATH_MAX:
            raise ConfigError(
                f"{self.runtime_dir}: the path is too long for the unix sockets in it; "
                f"{SOCKET_PATH_MAX - SOCKET_ROOM} bytes are the most",
                fix="Set BROKER_HOME or XDG_RUNTIME_DIR to a shorter path",
            )


def _xdg(env: Mapping[str, str], variable: str) -> Path | None:
    """An XDG variable; the specification has relative paths ignored."""
    value = env.get(variable, "")
    return Path(value) if value.startswith("/") else None


def _home(env: Mapping[str, str]) -> Path:
    if (home := env.get("HOME", "")).startswith("/"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError as exc:
        raise ConfigError("There is no home directory", fix="Set HOME or BROKER_HOME") from exc


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise ConfigError(
            f"{directory}: a file is in the way of this directory", fix="Move that file away"
        ) from exc
    except OSError as exc:
        raise StoreError(
            f"{directory} cannot be made ({exc.strerror})", fix=_fix_for(exc.errno)
        ) from exc


def _check(directory: Path, variable: str, *, private: bool = True, no_link: bool = False) -> None:
    """See that a directory is ours; take other people's rights off a private one.

    Args:
        private: It must be ours, and writable. What a person writes may be kept elsewhere.
        no_link: It lies where anybody could have put a link.
    """
    elsewhere = f"Remove it, or set {variable} or BROKER_HOME to a directory of your own"
    found = directory.lstat() if no_link else directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{directory}: is not a directory", fix=elsewhere)
    if found.st_uid != os.geteuid() and (private or found.st_uid != 0):
        raise ConfigError(f"{directory}: belongs to user {found.st_uid}, not to you", fix=elsewhere)
    if found.st_mode & (0o022 if private else 0o002):
        raise ConfigError(
            f"{directory}: others may write to it (mode {stat.S_IMODE(found.st_mode):04o})",
            fix=f"Look at what is in it, then: chmod 700 {directory}",
        )
    if not private:
        return
    if found.st_mode & 0o077:
        try:
            directory.chmod(0o700)
        except OSError as exc:
            raise StoreError(
                f"{directory} cannot be made private ({exc.strerror})", fix=_fix_for(exc.errno)
            ) from exc
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StoreError(
            f"{directory} cannot be written to",
            fix=f"Make it writable, or set {variable} or BROKER_HOME to a directory that is",
        )


def _fix_for(error: int | None) -> str:
    if error in (errno.ENOSPC, errno.EDQUOT):
        return "Make room on that disk"
    if error == errno.EROFS:
        return "That disk is read-only: set BROKER_HOME to a directory that can be written"
    return "Make it yourself, or set BROKER_HOME to a directory of your own"
