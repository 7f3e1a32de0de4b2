"""Words for what became of an experiment, as people write them in place of a number."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gollum.data.spreadsheets.numbers import is_number_like
from gollum.errors import DataError

_WORDS = {
    "measured": "measured, done, ok, complete, completed, finished",
    "failed": "failed, fail, failure, no product, no reaction",
    "not run": "not run, not done, not performed, skipped, cancelled, canceled",
    "pending": "pending, planned, waiting, running, in progress, withdrawn",
}
_MEANING = {word: status for status, words in _WORDS.items() for word in words.split(", ")}


def meaning(text: str, failed: Iterable[str] = ()) -> str | None:
    """'measured', 'failed', 'not run' or 'pending'; None where a text says something else.

    Args:
        text: of a cell.
        failed: further words for what failed.
    """
    word = _bare(text)
    return "failed" if word in map(_bare, failed) else _MEANING.get(word)


def check_failed(words: Iterable[str]) -> None:
    """Refuse words that can't mean that an experiment failed.

    Raises:
        DataError: one is blank, a number, or has another meaning.
    """
    for word in words:
        if not _bare(word) or is_number_like(word):
            raise DataError(f"'{word}' is no word for what failed; name one such as 'n.d.'.")
        if meaning(word) not in (None, "failed"):
            raise DataError(f"'{word}' means '{meaning(word)}' already; use another word.")


def _bare(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.casefold().strip(" .")))


def is_open(text: str) -> bool:
    """Whether a cell says that there is no result yet: it is blank, or a word for that."""
    return not text.strip() or meaning(text) in ("not run", "pending")
