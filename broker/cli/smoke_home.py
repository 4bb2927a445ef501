"""The home that `broker smoke` lives in, and that nothing is left of, however it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from broker import giveback

_CLEAR_UP: Final = """\
BROKER_HOME=$1 "$2" -P -c "from broker.cli.main import entry; entry()" vm kill "*"
for each in $(grep -lsxzF "BROKER_HOME=$1" /proc/[0-9]*/environ); do
  each=${each#/proc/}; kill "${each%/environ}"
done
rm -rf "$1"
"""
"""The guest first: it knows nothing of that home. Then viewers and their display."""


@contextmanager
def fresh_home() -> Iterator[Path]:
    """A BROKER_HOME with nothing in it and a path short enough for sockets; removed at the end.

    Settings in the environment are hidden, and the proxy takes a free port, so that a broker
    which is in use on this host is left alone. When this process is killed inside the block, what
    runs in that home is killed too.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("BROKER_")}
    home = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    for name in before:
        del os.environ[name]
    bare = dict(os.environ)
    os.environ |= {"BROKER_HOME": str(home), "BROKER_PROXY_TLS_PORT": "0"}
    try:
        with giveback.if_killed(_CLEAR_UP, str(home), sys.executable, env=bare):
            yield home
    finally:
        for name in ("BROKER_HOME", "BROKER_PROXY_TLS_PORT"):
            del os.environ[name]
        os.environ |= before
        shutil.rmtree(home, ignore_errors=True)
