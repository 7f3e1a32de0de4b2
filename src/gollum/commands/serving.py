"""The command that serves the lab's page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gollum.errors import ConfigError, MissingExtraError

INTERRUPTED = 130
NEEDED = ("fastapi", "uvicorn", "python_multipart")


def add_command(known: Any) -> None:
    """Declare it."""
    page = known.add_parser(
        "serve",
        description="Serve a campaign, or all of a folder, to a browser. Only programs of this "
        "machine reach it unless --host says otherwise.",
    )  # fmt: skip
    page.set_defaults(handler=serve)
    page.add_argument("path", metavar="CAMPAIGN|FOLDER", nargs="?", default=".")
    page.add_argument("--port", type=int, metavar="N", help="[8765, or the next that is free]")
    page.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="[%(default)s]")
    page.add_argument("--name", action="append", default=[], metavar="HOST",
                      help="a name by which browsers call it")  # fmt: skip
    page.add_argument("--password-file", metavar="FILE", help="its first line is the password")
    page.add_argument("--people-file", metavar="FILE",
                      help="instead: 'name: password' of each person, a line each")  # fmt: skip
    page.add_argument("--token-file", metavar="FILE",
                      help="keeps the token of robots, and is made if it is not there")  # fmt: skip
    page.add_argument("--tls-cert", metavar="FILE")
    page.add_argument("--tls-key", metavar="FILE")
    page.add_argument("--behind-proxy", action="store_true",
                      help="a proxy in front of it does TLS")  # fmt: skip


def _file(name: str | None) -> Path | None:
    return None if name is None else Path(name).expanduser()


def serve(known: argparse.Namespace, rest: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    if rest:
        raise ConfigError(f"'{rest[0]}' is not an option of gollum serve; see --help.")
    if not all(map(find_spec, NEEDED)):
        raise MissingExtraError("The page", "web")
    from gollum.web.serving import Wish
    from gollum.web.serving import serve as run

    wish = Wish(
        Path(known.path), known.host, known.port, tuple(known.name), _file(known.password_file),
        _file(known.token_file), _file(known.tls_cert), _file(known.tls_key), known.behind_proxy,
        _file(known.people_file),
    )  # fmt: skip
    try:
        run(wish)
    except KeyboardInterrupt:
        print("gollum: stopped; what was recorded is in the campaigns.", file=sys.stderr)
        return INTERRUPTED
    return 0
