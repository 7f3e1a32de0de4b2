"""Which features belong to which column: slots, and the layout that they make together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gollum.errors import ConfigError, DataError, nearest

Matrix = NDArray[np.float64]
Bits = NDArray[np.uint8]
Form = Literal["indicators", "number", "bits", "counts", "vector"]

SAMPLE = 2000  # rows whose spread stands for that of larger pools


@dataclass(frozen=True)
class Slot:
    """Neighbouring features that one representation makes of one column, or of a whole row.

    Attributes:
        representation: its name, such as 'one_hot'.
        columns: what it reads; one column, or several for a row.
        size: number of features.
        form: what kind of numbers they are.
        spread: half the mean squared distance between two candidates in these features; measured
            when `Blocks` are made of them.
    """

    representation: str
    columns: tuple[str, ...]
    size: int
    form: Form = "vector"
    spread: float | None = None

    @property
    def name(self) -> str:
        """REPRESENTATION:COLUMN, or the representation alone where it reads a whole row."""
        column = f":{self.columns[0]}" if len(self.columns) == 1 else ""
        return f"{self.representation}{column}"


@dataclass(frozen=True)
class Layout:
    """Slots in the order of their features.

    Attributes:
        slots: the slots.
    """

    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.slots):
            raise ConfigError(f"slots need names of their own: {', '.join(self.names)}.")

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def size(self) -> int:
        """d, the number of features."""
        return sum(slot.size for slot in self.slots)

    @property
    def names(self) -> list[str]:
        """Names of the slots."""
        return [slot.name for slot in self.slots]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return tuple(dict.fromkeys(c for slot in self.slots for c in slot.columns))

    def only(self, names: Sequence[str] = ()) -> list[tuple[Slot, list[int]]]:
        """Slots of these names with the positions of their features; all without names.

        Raises:
            ConfigError: there is no such slot; the message says which there are.
        """
        ends = np.cumsum([slot.size for slot in self.slots]).tolist()
        found = {
            slot.name: (slot, list(range(end - slot.size, end)))
            for slot, end in zip(self.slots, ends, strict=True)
        }
        for name in names:
            if name not in found:
                raise ConfigError(
                    f"there is no slot '{name}' in these features.{nearest(name, found)} There are "
                    f"{', '.join(found)}."
                )
        return [found[name] for name in names or found]

    def dims(self, name: str) -> list[int]:
        """Positions of the features of a slot; raises as `only`."""
        return self.only([name])[0][1]


@dataclass(frozen=True, eq=False)
class Levels:
    """Features of one slot: those of each different cell once, and which of them each row has.

    Attributes:
        values: L x d; bits of fingerprints may be small integers.
        codes: N numbers below L; None where every row has features of its own, so that L is N.
    """

    values: NDArray[Any]
    codes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values if self.codes is None else self.codes)

    def of(self, rows: Any) -> NDArray[Any]:
        """Features n x d of n rows, or of a slice of them."""
        found: NDArray[Any] = self.values[rows if self.codes is None else self.codes[rows]]
        return found

    @property
    def matrix(self) -> NDArray[Any]:
        """Features N x d of all rows."""
        return self.of(slice(None))


Encoder = Callable[[pd.DataFrame], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Encoders:
    """What encodes several blocks, side by side.

    Attributes:
        parts: of each block its encoder, without its features, which are large, and its layout.
        dims: positions of the features that are taken; None for all.
    """

    parts: tuple[tuple[Encoder, Layout], ...]
    dims: Sequence[int] | None = None

    def __call__(self, table: pd.DataFrame) -> NDArray[Any]:
        """Features of all blocks, m x d."""
        return self._taken([encode(table) for encode, _ in self.parts])

    def numbers(self, table: pd.DataFrame, like: Matrix) -> NDArray[Any]:
        """The same for rows that differ in numbers only from others, whose features are `like`."""
        sizes = [layout.size for _, layout in self.parts]
        wide = like
        if self.dims is not None:
            wide = np.zeros((len(like), sum(sizes)))
            wide[:, self.dims] = like
        each = np.split(wide, np.cumsum(sizes)[:-1], axis=1)
        return self._taken(
            [
                numbers_of(encode, layout, table, known)
                for (encode, layout), known in zip(self.parts, each, strict=True)
            ]
        )

    def _taken(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        found = np.hstack(parts)
        return found if self.dims is None else found[:, self.dims]


def numbers_of(encode: Encoder, layout: Layout, table: pd.DataFrame, like: Matrix) -> NDArray[Any]:
    """Features of rows that differ in numbers only from others, of which the other features are.

    Slots of numbers are encoded; words of whole rows, in which numbers count little, are as before.

    Args:
        encode: of all features.
        layout: of these.
        table: m rows.
        like: m x d features of the rows that they are like.
    """
    if isinstance(encode, Encoders):
        return encode.numbers(table, like)
    return encode(table) if all(slot.form == "number" for slot in layout) else like


class Blocks:
    """Features of a pool that no fit changes, and how other rows get the same ones.

    Attributes:
        layout: which of the d features belong together.
        encode: a table with the columns that are read → its features, m x d.
        parts: the features of each slot.
    """

    def __init__(self, matrix: Any, layout: Layout, encode: Encoder) -> None:
        """Set up.

        Args:
            matrix: N x d, NumPy's or PyTorch's; bits of fingerprints may be small integers.
            layout: which of the d belong together.
            encode: a table with the columns that are read → its features, m x d.

        Raises:
            ConfigError: matrix and layout differ in d.
        """
        found = matrix if isinstance(matrix, np.ndarray) else _as_numpy(matrix)
        if found.shape[1] != layout.size:
            raise ConfigError(
                f"slots {', '.join(layout.names)}: expected {layout.size} features, got "
                f"shape {tuple(found.shape)}."
            )
        ends = np.cumsum([slot.size for slot in layout]).tolist()
        self._set([Levels(found[:, e - s.size : e]) for s, e in zip(layout, ends, strict=True)],
                  layout, encode)  # fmt: skip

    @classmethod
    def of(cls, parts: Sequence[Levels], layout: Layout, encode: Encoder) -> Blocks:
        """Blocks of the features of each slot, which stay as small as they are."""
        made = cls.__new__(cls)
        made._set(parts, layout, encode)
        return made

    def _set(self, parts: Sequence[Levels], layout: Layout, encode: Encoder) -> None:
        self.parts, self.encode = tuple(parts), encode
        measured = (
            slot if slot.spread else replace(slot, spread=spread(part))
            for slot, part in zip(layout, self.parts, strict=True)
        )
        self.layout = Layout(tuple(measured))

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def matrix(self) -> NDArray[Any]:
        """All features, N x d."""
        if len(self.parts) == 1:
            return self.parts[0].matrix
        return np.hstack([part.matrix for part in self.parts])


def block(
    representation: str,
    columns: Sequence[str],
    form: Form,
    encode: Encoder,
    given: pd.DataFrame | NDArray[Any] | Levels,
) -> Blocks:
    """One slot.

    Args:
        representation: name.
        columns: what is read.
        form: what kind of numbers they are.
        encode: a table → its features.
        given: the pool's table, or its features where they are known.
    """
    found = encode(given) if isinstance(given, pd.DataFrame) else given
    part = found if isinstance(found, Levels) else Levels(found)
    slot = Slot(representation, tuple(columns), part.values.shape[1], form)
    return Blocks.of([part], Layout((slot,)), encode)


def side_by_side(parts: Sequence[Blocks]) -> Blocks:
    """Blocks as one, in order."""
    if len(parts) == 1:
        return parts[0]
    return Blocks.of(
        [levels for part in parts for levels in part.parts],
        Layout(tuple(slot for part in parts for slot in part.layout)),
        Encoders(tuple((part.encode, part.layout) for part in parts)),
    )


def spread(part: Levels) -> float:
    """Half the mean squared distance between two rows: the sum of the features' variances.

    Of many rows, a fixed sample is looked at. 1 where all are equal.
    """
    rows: Any = slice(None)
    if len(part) > SAMPLE:
        rows = np.random.default_rng(0).choice(len(part), SAMPLE, replace=False)
    return float(part.of(rows).var(axis=0, dtype=np.float64).sum()) or 1.0


def _as_numpy(matrix: Any) -> NDArray[Any]:
    found: NDArray[Any] = matrix.detach().cpu().numpy()
    return found


def require_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Refuse a table that lacks a column which is to be encoded.

    Raises:
        DataError: naming it.
    """
    for column in columns:
        if column not in table.columns:
            raise DataError(
                f"{name}: the rows have no column '{column}', from which their features are made."
                + nearest(column, map(str, table.columns))
            )
