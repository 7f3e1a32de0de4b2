"""What a shell is told when somebody presses the tab key."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable

COMPLETING = "_ARGCOMPLETE"  # environment variable that the shell sets
KEYED = ("run", "demo", "bench", "init")  # commands that take keys besides their options


def complete(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what may come next, and end the process."""
    import argcomplete

    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    typed = os.environ.get("COMP_LINE", "").split()
    if typed[1:2] and typed[1] in KEYED and any(word.startswith("--") for word in typed):
        _add_keys(action.choices[typed[1]])
    for command, options in action.choices.items():
        for option in options._actions:
            if found := _names(command, option.dest):
                option.completer = found
    argcomplete.autocomplete(parser)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    from gollum.benchmark.config import keys  # pandas, a second

    for key in keys():
        if f"--{key}" not in parser._option_string_actions:
            parser.add_argument(f"--{key}")


def _names(command: str, option: str) -> Callable[..., Iterable[str]] | None:
    """What gives the names that an option takes; None of those that take files or numbers."""

    def tasks(**_: object) -> Iterable[str]:
        from gollum.data.catalog import task_names

        return task_names()

    def models(**_: object) -> Iterable[str]:
        from gollum.language.catalog import CATALOG

        return [*CATALOG, "get"] if command == "models" else CATALOG

    def surrogates(**_: object) -> Iterable[str]:
        from gollum.surrogates.specs import surrogate_names

        return surrogate_names()

    known = {
        ("tasks", "name"): tasks,
        ("tasks", "download"): tasks,
        ("models", "words"): models,
        ("init", "model"): models,
    }
    usual = {"data.task": tasks, "model.name": models, "surrogate": surrogates}
    return known.get((command, option)) or usual.get(option)
