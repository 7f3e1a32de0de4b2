"""Names as people write them: the same but for capitals, spaces, hyphens and Unicode form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from gollum.data.spreadsheets.numbers import composed, is_number_like
from gollum.notes import Note

_GAP = r"[\s_‐-―−-]+"
_BETWEEN = re.compile(rf"(?<=\d){_GAP}(?=\d)")  # 1-2 is not 12
_ELSEWHERE = re.compile(rf"(?<!\d){_GAP}|{_GAP}(?!\d)")


def meant(name: str, known: Iterable[str], notes: list[Note], place: str = "") -> str:
    """The known name that is this one as a person would write it, if there is just one.

    Args:
        name: as it was written.
        known: names that there are.
        notes: a note is added where the name is written otherwise.
        place: of the note.

    Returns:
        The known name, or the name as it is where there is none, or several.
    """
    known = list(known)
    if name in known:
        return name
    form = loose(name)
    same = [one for one in known if loose(one) == form]
    if len(same) != 1:
        return name
    if composed(same[0]) != composed(name):
        notes.append(Note("other-spelling", place, f"'{name}' is taken for '{same[0]}'"))
    return same[0]


def loose(name: str) -> str:
    """What names are compared by; numbers are compared as they are."""
    text = unicodedata.normalize("NFKC", name).strip()
    if is_number_like(text):
        return text
    return _ELSEWHERE.sub("", _BETWEEN.sub("-", text.casefold()))
