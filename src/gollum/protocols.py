"""Whether an object of a user's has what a protocol asks for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gollum.errors import ConfigError, GollumError


@contextmanager
def running(code: Any, what: str) -> Iterator[None]:
    """Run somebody's own code: what it raises becomes a sentence; our own defects stay whole.

    Args:
        code: the object whose code runs.
        what: what it is called, such as "kernel 'mine'".

    Raises:
        ConfigError: with what it raised, which is its cause.
    """
    try:
        yield
    except GollumError:
        raise
    except Exception as error:  # whatever it may raise
        made_by = code if hasattr(code, "__qualname__") else type(code)
        if str(getattr(made_by, "__module__", "")).split(".")[0] == "gollum":
            raise
        raise ConfigError(f"{what} failed ({type(error).__name__}: {error}); mend it.") from error


def require(given: Any, protocol: type, *kinds: type) -> None:
    """Refuse an object that lacks a part of a protocol, or is not of a kind.

    Raises:
        ConfigError: naming the protocol and what is missing.
    """
    name = type(given).__name__ if not isinstance(given, type) else given.__name__
    wanted = getattr(protocol, "__abstractmethods__", None) or (
        inspect.get_annotations(protocol).keys()
        | {part for part in vars(protocol) if not part.startswith("_") or part == "__call__"}
    )
    missing = sorted(part for part in wanted if not hasattr(given, part))
    if missing:
        raise ConfigError(
            f"{name} is not {a(protocol.__name__)}: it lacks {', '.join(missing)}; see "
            f"gollum.{protocol.__name__}."
        )
    for kind in kinds:
        if not isinstance(given, kind):
            raise ConfigError(
                f"{name} is not {a(protocol.__name__)}: it must be {a(kind.__name__)}."
            )


def a(noun: str) -> str:
    """A noun with its article."""
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"
