"""Who may come in: the token of the printed address, a password, and what cookies promise."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gollum.errors import ConfigError
from gollum.files import create_file

NAME = re.compile(r"\w[\w .'@-]{0,60}")  # of a person
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
        hashed: name → password by scrypt; '' names the one that all share. Empty where there is
            none.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    hashed: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, token_file: Path | None, password_file: Path | None, people_file: Path | None = None
    ) -> Keys:
        """Read what is kept in files; a file for the token is made where there is none.

        Args:
            token_file: holds the token.
            password_file: its first line is the password that all share.
            people_file: instead, a line 'name: password' for each person.

        Raises:
            ConfigError: a file can't be read or made, others may read it, or it holds too little.
        """
        token = secrets.token_urlsafe(24) if token_file is None else _token(token_file)
        passwords = dict[str, str]()
        if password_file is not None and people_file is not None:
            raise ConfigError("--password-file and --people-file exclude each other; give one.")
        if password_file is not None:
            passwords = {"": next(iter(_secret(password_file, "password")), "")}
            _check(passwords[""], str(password_file))
        elif people_file is not None:
            passwords = _people(people_file)
        return cls(token, {name: _hash(token, password) for name, password in passwords.items()})

    @property
    def personal(self) -> bool:
        """Whether each person has a password."""
        return any(self.hashed)

    def is_token(self, text: str) -> bool:
        """Whether this is the token; as long for a close guess as for another."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def is_password(self, text: str, who: str = "") -> bool:
        """Whether this is somebody's password; as long for a name that is unknown."""
        made = _hash(self.token, text[:1024])
        return hmac.compare_digest(made, self.hashed.get(who, b""))

    def session(self, who: str = "") -> str:
        """A new cookie, which holds for a while and as long as token and password stay."""
        name = who.encode().hex()
        promise = f"{int(time.time()) + LASTS}.{name}.{secrets.token_urlsafe(12)}"
        return f"{promise}.{self._mac('session', promise)}"

    def holds(self, cookie: str) -> bool:
        """Whether a cookie was made here and is not too old."""
        promise, _, mac = cookie.rpartition(".")
        genuine = hmac.compare_digest(mac.encode(), self._mac("session", promise).encode())
        return genuine and int(promise.partition(".")[0]) > time.time()

    @staticmethod
    def who(cookie: str) -> str:
        """The name in a cookie that holds; '' where all share one key."""
        return bytes.fromhex(cookie.split(".")[1]).decode()

    def csrf(self, cookie: str) -> str:
        """What forms of a session carry, which no other site can know."""
        return self._mac("form", cookie)

    def is_csrf(self, cookie: str, text: str) -> bool:
        """Whether a form belongs to a session."""
        return hmac.compare_digest(text.encode(), self.csrf(cookie).encode())

    def _mac(self, what: str, text: str) -> str:
        """A seal with the token and the password of whom a cookie names."""
        try:
            key = self.token.encode() + self.hashed.get(self.who(text), b"")
        except (IndexError, ValueError):  # no cookie of ours, so any seal will do
            key = self.token.encode()
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


def _hash(token: str, password: str) -> bytes:
    """A password by scrypt; its salt is made of the token, so it stays where that is kept."""
    salt = hmac.new(token.encode(), b"salt", "sha256").digest()
    return hashlib.scrypt(password.encode(), salt=salt, **_COST)


def _check(password: str, whose: str) -> None:
    if len(password) < SHORTEST:
        raise ConfigError(
            f"{whose}: the password has {len(password)} characters; take {SHORTEST} or more."
        )


def _people(file: Path) -> dict[str, str]:
    """Name → password, from lines 'name: password'."""
    found = dict[str, str]()
    for number, line in enumerate(_secret(file, "people"), 1):
        name, colon, password = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not (colon and NAME.fullmatch(name)):
            raise ConfigError(f"{file}: line {number} is no 'name: password'.")
        if name in found:
            raise ConfigError(f"{file}: line {number} names '{name}' again; keep one.")
        _check(password, f"{file}: line {number}")
        found[name] = password
    if not found:
        raise ConfigError(f"{file} names nobody; write a line 'name: password' for each person.")
    return found


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
    token = next(iter(_secret(file, "token")), "")
    if len(token) < 2 * SHORTEST or not token.isascii():
        raise ConfigError(f"{file} holds no token; remove it, and a new one is made.")
    return token


def _secret(file: Path, what: str) -> list[str]:
    """The lines of a file that nobody else may read."""
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"the {what} file {file} can't be read ({reason}).") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others may read the {what} file {file}; chmod 600 it.")
    return [line.strip() for line in text.splitlines()]
