"""Who may come in: the token of the printed address, a password, and what cookies promise."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

from gollum.errors import ConfigError
from gollum.files import create_file

SHORTEST = 12  # characters of a password
LASTS = 12 * 3600  # seconds that a session lasts
TRIES, WITHIN = 10, 60.0  # failed logins of one address, in so many seconds
EVERY = 100  # failed logins of all addresses, in the same time
_COST = {"n": 2**14, "r": 8, "p": 1}  # of scrypt: 16 MiB and some 50 ms


@dataclass(frozen=True)
class Keys:
    """What opens the page.

    Attributes:
        token: of robots and, where there is no password, of the printed address.
        salt: of the password.
        hashed: the password by scrypt; None where there is none.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    hashed: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, token_file: Path | None, password_file: Path | None) -> Keys:
        """Read what is kept in files; a file for the token is made where there is none.

        Raises:
            ConfigError: a file can't be read or made, others may read it, or it holds too little.
        """
        token = secrets.token_urlsafe(24) if token_file is None else _token(token_file)
        if password_file is None:
            return cls(token)
        password = _secret(password_file, "password")
        if len(password) < SHORTEST:
            raise ConfigError(
                f"{password_file}: the password has {len(password)} characters; take "
                f"{SHORTEST} or more."
            )
        salt = secrets.token_bytes(16)
        return cls(token, salt, hashlib.scrypt(password.encode(), salt=salt, **_COST))

    def is_token(self, text: str) -> bool:
        """Whether this is the token; as long for a close guess as for another."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def is_password(self, text: str) -> bool:
        """Whether this is the password; False where there is none."""
        if self.hashed is None:
            return False
        made = hashlib.scrypt(text.encode()[:1024], salt=self.salt, **_COST)
        return hmac.compare_digest(made, self.hashed)

    def session(self) -> str:
        """A new cookie, which holds for a while and as long as token and password stay."""
        promise = f"{int(time.time()) + LASTS}.{secrets.token_urlsafe(12)}"
        return f"{promise}.{self._mac('session', promise)}"

    def holds(self, cookie: str) -> bool:
        """Whether a cookie was made here and is not too old."""
        promise, _, mac = cookie.rpartition(".")
        genuine = hmac.compare_digest(mac.encode(), self._mac("session", promise).encode())
        return genuine and int(promise.partition(".")[0]) > time.time()

    def csrf(self, cookie: str) -> str:
        """What forms of a session carry, which no other site can know."""
        return self._mac("form", cookie)

    def is_csrf(self, cookie: str, text: str) -> bool:
        """Whether a form belongs to a session."""
        return hmac.compare_digest(text.encode(), self.csrf(cookie).encode())

    def _mac(self, what: str, text: str) -> str:
        key = self.token.encode() + (self.hashed or b"")
        return hmac.new(key, f"{what}:{text}".encode(), "sha256").hexdigest()


class Tries:
    """Failed logins, by address, so that nobody guesses for long."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = defaultdict(deque)

    def too_many(self, address: str) -> bool:
        """Whether an address, or all together, has failed too often of late."""
        since = time.monotonic() - WITHIN
        for known in list(self._failed):
            times = self._failed[known]
            while times and times[0] < since:
                times.popleft()
            if not times:
                del self._failed[known]
        every = sum(map(len, self._failed.values()))
        return len(self._failed.get(address, ())) >= TRIES or every >= EVERY

    def failed(self, address: str) -> None:
        """Remember one."""
        self._failed[address].append(time.monotonic())


def _token(file: Path) -> str:
    """The token in a file, which is made if it is not there."""
    if not file.exists():
        try:
            before = os.umask(0o077)
            try:
                create_file(file, secrets.token_urlsafe(24).encode())
            finally:
                os.umask(before)
        except OSError as error:
            raise ConfigError(f"{file} can't be written ({error.strerror}).") from None
    token = _secret(file, "token")
    if len(token) < 2 * SHORTEST or not token.isascii():
        raise ConfigError(f"{file} holds no token; remove it, and a new one is made.")
    return token


def _secret(file: Path, what: str) -> str:
    """The first line of a file that nobody else may read."""
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"the {what} file {file} can't be read ({reason}).") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others may read the {what} file {file}; chmod 600 it.")
    return next(iter(text.splitlines()), "").strip()
