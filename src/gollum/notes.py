"""Notes: sentences for users, told apart by a code.

A code is a short word with hyphens, and the same thing has the same code wherever it is noticed.
What a program makes of a note depends on code and column; the words may change at any time.
"""

from __future__ import annotations

from typing import Any


class Note(str):
    """A sentence for users: place, column and text with colons between them, or what there is.

    Attributes:
        code: what kind of note it is, such as 'repeated-rows'; empty if somebody else wrote it.
        place: a file or table, perhaps with a row, or empty.
        text: what there is to say.
        column: the one that it is about, if it begins with that, or empty.
    """

    code: str
    place: str
    text: str
    column: str

    def __new__(cls, code: str, place: str, text: str, column: str = "") -> Note:
        """Put the sentence together."""
        parts = (place, f"column '{column}'" if column else "", text)
        note = super().__new__(cls, ": ".join(filter(None, parts)))
        vars(note).update(code=code, place=place, text=text, column=column)
        return note

    @classmethod
    def of(cls, sentence: str) -> Note:
        """A note as it is; any other sentence without a code."""
        return sentence if isinstance(sentence, Note) else cls("", "", sentence)

    def within(self, where: str) -> Note:
        """The same note, with this in front of its place."""
        place = f"{where}: {self.place}" if self.place else where
        return Note(self.code, place, self.text, self.column)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a note can't be changed")

    def __reduce__(self) -> tuple[Any, ...]:
        return Note, (self.code, self.place, self.text, self.column)


class Notes(tuple[Note, ...]):
    """Notes on a table, which pandas would copy one by one with every column that is looked at."""

    def __deepcopy__(self, memo: object) -> Notes:
        return self
