"""Whether an object of a user's has what a protocol asks for."""

from __future__ import annotations

import inspect
from typing import Any

from gollum.errors import ConfigError


def require(given: Any, protocol: type, *kinds: type) -> None:
    """Refuse an object that lacks a part of a protocol, or is not of a kind.

    Raises:
        ConfigError: naming the protocol and what is missing.
    """
    name = type(given).__name__ if not isinstance(given, type) else given.__name__
    wanted = inspect.get_annotations(protocol).keys() | {
        part for part in vars(protocol) if not part.startswith("_") or part == "__call__"
    }
    missing = sorted(part for part in wanted if not hasattr(given, part))
    article = "an" if protocol.__name__[0] in "AEIOU" else "a"
    if missing:
        raise ConfigError(
            f"{name} is not {article} {protocol.__name__}: it lacks {', '.join(missing)}; see "
            f"gollum.{protocol.__name__}."
        )
    for kind in kinds:
        if not isinstance(given, kind):
            raise ConfigError(
                f"{name} is not {article} {protocol.__name__}: it must be a {kind.__name__}."
            )
