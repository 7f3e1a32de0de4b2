"""Registries: what can be named in a command, a spec or a campaign, and where it comes from.

An entry is built in, registered by a decorator, or found among the entry points of installed
packages (docs/extending.md has an example of each).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module, metadata
from operator import attrgetter
from typing import Any, TypeVar

from gollum.errors import ConfigError, nearest
from gollum.protocols import a

T = TypeVar("T")
Registered = TypeVar("Registered", bound=Callable[..., Any])


class Registry(Mapping[str, T]):
    """Names and what they stand for, in order of registration; loaded when first asked for.

    Args:
        what: what one entry is called in messages, such as 'kernel'.
        group: the group of entry points below 'gollum.', such as 'kernels'.
        known: built-in entries; a text 'module:attribute' is imported when it is asked for.
        package: whose modules register further built-in entries when they are imported.
    """

    def __init__(
        self,
        what: str,
        group: str,
        known: Mapping[str, T | str] | None = None,
        package: str | None = None,
    ) -> None:
        self.what, self._group = what, f"gollum.{group}"
        self._known: dict[str, Any] = dict(known or {})
        self._package = package
        self._adopted: list[Any] = []

    def register(self, name: str, **facts: Any) -> Callable[[Registered], Registered]:
        """A decorator that enters what it decorates; facts become its attributes."""

        def enter(entry: Registered) -> Registered:
            for fact, value in facts.items():
                setattr(entry, fact, value)
            self._known[name] = entry
            return entry

        return enter

    def adopt(self, given: T | str, taken: Iterable[str] = ()) -> str:
        """The name of an entry: one that is given as a name, or an object's own, entered here.

        What is defined anew, as by a notebook's cell that runs again, takes its own place.

        Args:
            given: the name or the object.
            taken: names that stand for something else.

        Raises:
            ConfigError: the object has no name, or another entry has it.
        """
        if isinstance(given, str):
            return given
        name = getattr(given, "name", None) or getattr(given, "__name__", None)
        if not isinstance(name, str) or not name.replace("_", "a").replace("-", "a").isalnum():
            raise ConfigError(
                f"{a(self.what)} needs a name by which it is recorded; give {given!r} an attribute "
                "'name' of letters, digits, - and _."
            )
        known = self[name] if name in self else None  # noqa: SIM401 (a missing name is an error)
        again = known in self._adopted and _place(known) == _place(given) != (None, None)
        if name in taken or (known is not None and known != given and not again):
            raise ConfigError(
                f"there is another {self.what} '{name}'; give yours another name, in an attribute "
                "'name'."
            )
        self._known[name] = given
        self._adopted.append(given)
        return name

    def __getitem__(self, name: str) -> T:
        """The entry of that name.

        Raises:
            ConfigError: there is none, with the nearest name, or its package can't be imported.
        """
        self._complete()
        if name not in self:
            raise ConfigError(self.unknown(name))
        entry = self._known[name] if name in self._known else self._points[name]
        if isinstance(entry, metadata.EntryPoint):
            entry = self._known[name] = self._loaded(entry)
        elif isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._known[name] = attrgetter(attribute)(import_module(module))
        return entry  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        yield from self._known
        yield from (name for name in self._points if name not in self._known)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def fact(self, name: str, what: str, default: Any) -> Any:
        """An attribute of an entry that is here already; the default where it would be imported."""
        self._complete()
        return getattr(self._known.get(name), what, default)

    def unknown(self, name: str, also: Iterable[str] = ()) -> str:
        """What is said of a name that stands for nothing."""
        names = [*dict.fromkeys((*self, *also))]
        return f"{self.what} '{name}' is unknown; choose from {', '.join(names)}." + nearest(
            name, names
        )

    @cached_property
    def _points(self) -> dict[str, metadata.EntryPoint]:
        return {point.name: point for point in metadata.entry_points(group=self._group)}

    def _loaded(self, point: metadata.EntryPoint) -> Any:
        try:
            return point.load()
        except Exception as error:  # whatever another package may raise
            package = point.dist.name if point.dist else "a package"
            raise ConfigError(
                f"{self.what} '{point.name}' of {package} can't be loaded ({error}); install that "
                "package anew, or choose another."
            ) from error

    def _complete(self) -> None:
        """Import the modules that register entries, once."""
        if (package := self._package) is not None:
            for module in pkgutil.iter_modules(import_module(package).__path__):
                import_module(f"{package}.{module.name}")
            self._package = None


def _place(entry: Any) -> tuple[str | None, str | None]:
    """Where an object is defined."""
    return getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)
