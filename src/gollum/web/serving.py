"""Starting the page: what is refused, which port is taken, and the address that is printed."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gollum.errors import ConfigError, UserError
from gollum.web.folder import Folder
from gollum.web.guard import House
from gollum.web.keys import Keys

if TYPE_CHECKING:
    import uvicorn

PORT, TRIED = 8765, 20  # the usual port, and how many are tried from there on
PATIENCE = 3  # seconds that open requests have when the server ends
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Wish:
    """How the page is to be served.

    Attributes:
        path: a campaign's file, or a folder of them.
        host: address to listen at.
        port: None for the first that is free.
        names: by which the page is called besides.
        password_file: a file with the password that all share …
        people_file: … or one with a name and a password for each person.
        token_file: a file with the token, made if it is not there.
        certificate: a file for TLS …
        key: … and its key.
        behind_proxy: whether a proxy in front of it does TLS.
    """

    path: Path
    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    password_file: Path | None = None
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    people_file: Path | None = None

    @property
    def has_password(self) -> bool:
        """Whether a password is asked for."""
        return self.password_file is not None or self.people_file is not None

    @property
    def local(self) -> bool:
        """Whether only programs of this machine reach the page."""
        return self.host in LOOPBACK

    @property
    def everywhere(self) -> bool:
        """Whether all addresses of this machine are listened at."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 (compared, not listened at)

    def check(self) -> None:
        """Refuse what would show campaigns to a network without a lock.

        Raises:
            ConfigError: it would, or the certificate can't be used.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--tls-cert and --tls-key belong together; give both.")
        if self.certificate is not None and self.key is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
            except OSError as error:  # ssl.SSLError is one
                reason = error.strerror or str(error)
                raise ConfigError(
                    f"the certificate {self.certificate} can't be used ({reason})."
                ) from None
        if self.local or self.behind_proxy:
            return
        if not self.has_password or self.certificate is None:
            raise ConfigError(
                f"others reach {self.host}, so give --password-file FILE or --people-file FILE, "
                "--tls-cert FILE and --tls-key FILE; or --behind-proxy, if a proxy in front of it "
                "does TLS."
            )

    def house(self, port: int) -> House:
        """How the page may be called."""
        own = (socket.gethostname(), socket.getfqdn()) if self.everywhere else (self.host,)
        names = {n.lower() for n in (*LOOPBACK, *own, *self.names)}
        secure = self.certificate is not None or self.behind_proxy
        return House(names, secure, self.everywhere, f"gollum-{port}")


def listen(host: str, port: int | None) -> socket.socket:
    """A socket at a port, the usual one or one of the next where nobody said which.

    Raises:
        UserError: none is free, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = [port] if port is not None else [*range(PORT, PORT + TRIED), 0]
    for number in tried:
        # With its protocol said, asyncio sends small answers at once (TCP_NODELAY).
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, number))
            made.listen(128)
        except OSError as error:
            made.close()
            reason = error.strerror
        except OverflowError:
            made.close()
            raise UserError(f"a port is a number up to 65535, not {number}.") from None
        else:
            return made
    where = f"{host}:{port}" if port is not None else host
    raise UserError(f"{where} can't be listened at ({reason}); choose another --port or --host.")


def address(wish: Wish, port: int, token: str) -> str:
    """What to open in a browser."""
    scheme = "http" if wish.certificate is None else "https"
    own = socket.gethostname() if wish.everywhere else wish.host
    host = wish.names[0] if wish.names and not wish.local else own
    host = f"[{host}]" if _is_v6(host) else host
    end = "/" if wish.has_password else f"/enter?token={token}"
    return f"{scheme}://{host}:{port}{end}"


def _is_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def serve(wish: Wish) -> None:
    """Serve until somebody stops it.

    Raises:
        UserError: that can't be.
        KeyboardInterrupt: it was stopped.
    """
    import uvicorn

    from gollum.web.app import make_app

    wish.check()
    folder = Folder(wish.path.expanduser())
    keys = Keys.of(wish.token_file, wish.password_file, wish.people_file)
    made = listen(wish.host, wish.port)
    port = int(made.getsockname()[1])
    app = make_app(folder, keys, wish.house(port), warm=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none",
        proxy_headers=wish.behind_proxy, timeout_graceful_shutdown=PATIENCE,
        ssl_certfile=wish.certificate, ssl_keyfile=wish.key, h11_max_incomplete_event_size=2**15,
    )  # fmt: skip
    print(f"Open {address(wish, port, keys.token)}", flush=True)
    if wish.token_file is None and not wish.has_password:
        print("The address opens the page for whoever has it. Ctrl-C ends it.", flush=True)
    with made:
        _server(config).run(sockets=[made])
    raise KeyboardInterrupt


def _server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that ends in peace; uvicorn's own interrupts what it is closing."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

    return Server(config)
