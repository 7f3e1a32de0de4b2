"""Where texts are sent to be embedded, and the key that goes with them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from gollum.errors import ModelError

KEY_VARIABLES = ("GOLLUM_API_KEY", "OPENAI_API_KEY")  # environment: the first that is set
LOCAL = ("localhost", "127.0.0.1", "::1")
PIECE = 8  # characters of a key that no message may show
_LABEL = r"[a-z0-9_-]{1,63}"
_ADDRESS = re.compile(
    rf"https?://({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:\d+)?(/[!-~]*)?", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible address, and how it may be asked.

    Attributes:
        url: address below which `/embeddings` is; https, or http on this machine.
        model: what the endpoint calls the model. Vectors are kept under this name: one that is
            exchanged behind it is noticed only when their length changes.
        batch: most texts of a request.
        requests_per_minute: most requests; None for no limit.
        tokens_per_minute: most tokens, as far as they can be estimated; None for no limit.
        timeout: seconds to wait for the endpoint to connect, or to go on with its answer, which has
            to end within two of these.
        attempts: how often a request is made before it is given up.
        dimensions: length of the vectors to ask for; None for the model's own.
        price_per_million: dollars for a million tokens, for the estimate.
        options: what says the address and the model, for messages.

    Raises:
        ModelError: the address can't be used.
    """

    url: str
    model: str
    batch: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 60.0
    attempts: int = 6
    dimensions: int | None = None
    price_per_million: float | None = None
    options: tuple[str, str] = ("--remote.url", "--remote.model")

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _checked(self.url, self.options[0]))

    @property
    def host(self) -> str:
        """Where texts go, with the port if it is not the usual one."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.url).hostname in LOCAL

    @property
    def revision(self) -> str:
        """A sha256 that differs where vectors may: the address, the model, their length."""
        return self.key("").hex()

    def key(self, text: str) -> bytes:
        """Under which the vector of a text is stored."""
        parts = json.dumps([self.url, self.model, self.dimensions, text])
        return hashlib.sha256(parts.encode()).digest()


def _checked(url: str, option: str) -> str:
    """The address without what may be left out.

    Raises:
        ModelError: it is none, would send texts unencrypted, or has a secret in it, which the
            message does not repeat.
    """
    url = url.strip().rstrip("/").removesuffix("/embeddings")
    if re.search("[@?#]", url):
        raise ModelError(
            f"{option} has a user name, a password, a query or a fragment in it; give the "
            "address alone, and the key in GOLLUM_API_KEY."
        )
    with suppress(ValueError):  # a port that is too large
        parts = urlsplit(url)
        if _ADDRESS.fullmatch(url) and parts.port != 0:
            if parts.scheme == "http" and parts.hostname not in LOCAL:
                raise ModelError(
                    f"{option} '{url}' would send texts and key unencrypted; use https://, or "
                    f"http:// with a server on this machine ({', '.join(LOCAL)})."
                )
            return url
    raise ModelError(
        f"{option} {url!r} is not an address; write it like https://api.example.com/v1."
    )


@dataclass(frozen=True)
class ApiKey:
    """A key that shows itself to no one but the endpoint, or none.

    Attributes:
        variable: environment variable that it is from; empty for none.
        secret: the key.
    """

    variable: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """The key that the environment has for an endpoint.

        Raises:
            ModelError: there is none, though one is needed, or it can't be one.
        """
        variable = key_variable()
        secret = os.environ.get(variable, "").strip()
        if not secret and not endpoint.is_local:
            raise ModelError(
                f"{endpoint.host} needs a key: set the environment variable {KEY_VARIABLES[0]} "
                f"(or {KEY_VARIABLES[1]})."
            )
        if not re.fullmatch("[!-~]*", secret):
            raise ModelError(f"{variable} has a blank or a special character in it; set it again.")
        return cls(variable, secret)

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry."""
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def hide(self, text: str) -> str:
        """A text on one line, without the words that show the key or a good part of it."""
        pieces = {self.secret[i : i + PIECE] for i in range(max(1, len(self.secret) - PIECE + 1))}
        words = "".join(c if c.isprintable() else " " for c in text).split()
        return " ".join("***" if any(p and p in w for p in pieces) else w for w in words)


def key_variable() -> str:
    """The first of the variables that is set, or empty."""
    return next((name for name in KEY_VARIABLES if os.environ.get(name, "").strip()), "")
