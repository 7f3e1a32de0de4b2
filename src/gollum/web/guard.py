"""What every request passes first and every answer takes along: hosts, sizes, keys, headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gollum.web.keys import Keys, Tries

LARGEST = 32 * 2**20  # bytes of a request
OPEN = ("/enter", "/static/")  # what is shown to everybody
API = "/api/"
SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class House:
    """How the page is reached.

    Attributes:
        names: hosts by which it may be called, in small letters.
        secure: whether browsers speak TLS to it.
        numbers: whether it may be called by any number of a network, such as 192.168.0.7; a page
            elsewhere can let a name point here, but not a number.
        cookie: name of the cookie.
    """

    names: Collection[str] = ("127.0.0.1", "localhost", "::1")
    secure: bool = False
    numbers: bool = False
    cookie: str = "gollum"

    def knows(self, host: str) -> bool:
        """Whether a Host header, with or without a port, is of this house."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self.names or (self.numbers and _is_number(name))


@dataclass
class Guard:
    """The outermost layer of the application.

    Attributes:
        app: what is guarded.
        keys: what opens it.
        house: how it is reached.
        tries: failed logins.
    """

    app: ASGIApp
    keys: Keys
    house: House
    tries: Tries = field(default_factory=Tries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "keys": self.keys, "house": self.house,
                          "tries": self.tries}  # fmt: skip
        refusal = self._refusal(scope)
        sent = self._with_headers(scope, send)
        if refusal is not None:
            await refusal(scope, receive, sent)
            return
        await self.app(scope, _bounded(receive), sent)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is wrong with a request, by its head alone; None lets it in."""
        headers, path, state = Headers(scope=scope), scope["path"], scope["state"]
        if not self.house.knows(headers.get("host", "")):
            return _said(path, 421, "This page is not called by that name.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return _said(path, 413, f"More than {LARGEST >> 20} MB at once are not taken.")
        cookie = _cookie(headers.get("cookie", ""), self.house.cookie)
        state["cookie"] = cookie if cookie and self.keys.holds(cookie) else ""
        state["who"] = self.keys.who(cookie) if state["cookie"] else ""
        if not _from_here(headers, scope["method"]):
            return _said(path, 403, "This was sent from another site's page.")
        if any(path == known or path.startswith(known) for known in OPEN):
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(scope, path, token.strip())
        if state["cookie"]:
            return None
        if path.startswith(API):
            return _said(path, 401, "Say the token: Authorization: Bearer TOKEN.")
        return RedirectResponse("/enter", 303)

    def _by_token(self, scope: Scope, path: str, token: str) -> Response | None:
        if self.keys.is_token(token):  # too long to guess, so the right one is never kept out
            scope["state"]["robot"] = True
            return None
        address = (scope.get("client") or ("",))[0]
        if self.tries.too_many(address):
            return _said(path, 429, "Too many wrong tokens; wait a minute.")
        self.tries.failed(address)
        return _said(path, 401, "That is not the token.")

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if self.house.secure:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        return sent


class TooMuchError(HTTPException):
    """A request goes on for longer than it may; who reads bodies lets it pass."""

    def __init__(self) -> None:
        super().__init__(413, "That is too much at once.")


def _bounded(receive: Receive) -> Receive:
    """What is received, up to the largest request."""
    taken = 0

    async def received() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST:
            raise TooMuchError
        return message

    return received


def _said(path: str, status: int, sentence: str) -> Response:
    """An answer in the form that the path's users read."""
    if path.startswith(API):
        return JSONResponse({"error": sentence}, status)
    return PlainTextResponse(sentence + "\n", status)


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _from_here(headers: Headers, method: str) -> bool:
    """Whether what changes something was sent by a page of this host, or by no page at all."""
    if method in SAFE:
        return True
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    if site not in ("none", "same-origin"):
        return False
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
