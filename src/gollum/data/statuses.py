"""Words for what became of an experiment, as people write them in place of a number."""

from __future__ import annotations

import re

_WORDS = {
    "measured": "measured, done, ok, complete, completed, finished",
    "failed": "failed, fail, failure, no product, no reaction",
    "not run": "not run, not done, not performed, skipped, cancelled, canceled",
    "pending": "pending, planned, waiting, running, in progress, withdrawn",
}
_MEANING = {word: status for status, words in _WORDS.items() for word in words.split(", ")}


def meaning(text: str) -> str | None:
    """'measured', 'failed', 'not run' or 'pending'; None where a text says something else."""
    return _MEANING.get(" ".join(re.split(r"[\s_-]+", text.casefold().strip(" ."))))


def is_open(text: str) -> bool:
    """Whether a cell says that there is no result yet: it is blank, or a word for that."""
    return not text.strip() or meaning(text) in ("not run", "pending")
