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
class Blocks:
    """Features of a pool that no fit changes, and how other rows get the same ones.

    Attributes:
        matrix: N x d; bits of fingerprints may be small integers.
        layout: which of the d belong together.
        encode: a table with the columns that are read → its features, m x d.
    """

    matrix: Any  # NumPy's or PyTorch's
    layout: Layout
    encode: Callable[[pd.DataFrame], NDArray[Any]]

    def __post_init__(self) -> None:
        if self.matrix.shape[1] != self.layout.size:
            raise ConfigError(
                f"slots {', '.join(self.layout.names)}: expected {self.layout.size} features, got "
                f"shape {tuple(self.matrix.shape)}."
            )
        slots = [
            slot if slot.spread else replace(slot, spread=spread(self.matrix[:, dims]))
            for slot, dims in self.layout.only()
        ]
        object.__setattr__(self, "layout", Layout(tuple(slots)))


Encoder = Callable[[pd.DataFrame], NDArray[Any]]


def block(
    representation: str,
    columns: Sequence[str],
    form: Form,
    encode: Encoder,
    table: pd.DataFrame | NDArray[Any],
) -> Blocks:
    """One slot.

    Args:
        representation: name.
        columns: what is read.
        form: what kind of numbers they are.
        encode: a table → its features.
        table: the pool's, or its features where they are known.
    """
    matrix = encode(table) if isinstance(table, pd.DataFrame) else table
    slot = Slot(representation, tuple(columns), matrix.shape[1], form)
    return Blocks(matrix, Layout((slot,)), encode)


def side_by_side(parts: Sequence[Blocks]) -> Blocks:
    """Blocks as one, in order."""
    if len(parts) == 1:
        return parts[0]
    encoders = [part.encode for part in parts]  # without their matrices, which are large
    return Blocks(
        np.hstack([part.matrix for part in parts]),
        Layout(tuple(slot for part in parts for slot in part.layout)),
        lambda table: np.hstack([encode(table) for encode in encoders]),
    )


def spread(features: Any) -> float:
    """Half the mean squared distance between two rows: the sum of the features' variances.

    Of many rows, a fixed sample is looked at. 1 where all are equal.
    """
    if len(features) > SAMPLE:
        features = features[np.random.default_rng(0).choice(len(features), SAMPLE, replace=False)]
    found = np.asarray(features if isinstance(features, np.ndarray) else features.cpu())
    return float(found.var(axis=0, dtype=np.float64).sum()) or 1.0


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
