"""Representations: features that never change, and what may be trained on top of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.layout import Blocks, Encoders, Layout, Levels, Slot, numbers_of
from gollum.features.representations import Representation
from gollum.protocols import require

BOUND = 0.95


class FixedFeatures(nn.Module):
    """Features that were computed once: float64, or small integers for bits.

    Args:
        features: N x d, with or without what belongs to which column.
        notes: what a user should know, one sentence each.
        revision: hash of the language model's weights, if one made them.
    """

    _device: Tensor

    def __init__(
        self,
        features: Blocks | NDArray[np.float64] | NDArray[np.uint8] | Tensor,
        notes: tuple[str, ...] = (),
        revision: str = "",
    ) -> None:
        super().__init__()
        if not isinstance(features, Blocks):
            slot = Slot("features", (), features.shape[1], spread=1.0)
            features = Blocks(features, Layout((slot,)), _unknown)
        self.blocks, self.layout = features, features.layout
        # In pieces, and once: a mask of a million rows would be large, and takes a while.
        self.finite = all(
            bool(np.isfinite(part.values[start : start + 2**14]).all())
            for part in features.parts
            for start in range(0, len(part.values), 2**14)
        )
        self.rows_of = features.encode
        self.notes = notes
        self.revision = revision
        self.register_buffer("_device", torch.empty(0), persistent=False)
        self._matrix: Tensor | None = None

    @property
    def matrix(self) -> Tensor:
        """Features of all rows, N x d, made when they are first needed."""
        if self._matrix is None:
            matrix = self.blocks.matrix
            # PyTorch warns of what can't be written to, though nobody writes here.
            self._matrix = torch.as_tensor(matrix if matrix.flags.writeable else matrix.copy())
        self._matrix = self._matrix.to(self._device.device)
        return self._matrix

    @property
    def nbytes(self) -> int:
        """Bytes of memory: the levels, and the features of all rows once they were needed."""
        rows = 0 if self._matrix is None else self._matrix.nbytes
        return rows + sum(part.values.nbytes for part in self.blocks.parts)

    def refuse_not_finite(self, pool: Pool) -> None:
        """Refuse features that are no finite numbers.

        Raises:
            DataError: with candidate, column and representation of the first.
        """
        if self.finite:
            return
        slot, part = next(
            (slot, part)
            for slot, part in zip(self.layout, self.blocks.parts, strict=True)
            if not np.isfinite(part.values).all()
        )
        level = int(np.flatnonzero(~np.isfinite(part.values).all(axis=1))[0])
        row = level if part.codes is None else int(np.flatnonzero(part.codes == level)[0])
        raise DataError(
            f"{pool.name}: candidate '{pool.ids[row]}', column "
            f"'{', '.join(slot.columns) or 'unknown'}': a feature of '{slot.representation}' is "
            "not finite; correct the cell, or take another representation."
        )

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Features of other rows, m x d, float64.

        Raises:
            DataError: they can't be made.
        """
        return torch.as_tensor(self.rows_of(table), device=self._device.device).double()

    def numbers(self, table: pd.DataFrame, like: NDArray[np.int64]) -> NDArray[np.float64]:
        """Features of other rows, m x d, that differ in numbers only from rows of the pool.

        Words of whole rows are taken as they are there, as reading thousands would take minutes.

        Args:
            table: m rows.
            like: m positions in the pool.

        Raises:
            DataError: no feature is that of a number.
        """
        if not any(slot.form == "number" for slot in self.layout):
            raise DataError("Numbers are read in words only, which would take minutes.")
        known = np.hstack([part.of(like) for part in self.blocks.parts]).astype(np.float64)
        return numbers_of(self.rows_of, self.layout, table, known)

    def reset(self) -> None:
        """There is nothing to draw."""

    def freeze(self, frozen: bool) -> bool:
        """There is nothing to freeze."""
        return False

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Rows of the matrix, n x d, float64."""
        return self.matrix[torch.as_tensor(rows, device=self.matrix.device)].double()


def _unknown(table: pd.DataFrame) -> NDArray[np.float64]:
    raise DataError("these features were given as numbers, so other rows have none.")


class OnTop(nn.Module):
    """A representation made of another one, whose features it changes."""

    def __init__(self, inner: Representation, layout: Layout) -> None:
        super().__init__()
        self.inner = inner
        self.layout = layout
        self.notes = inner.notes
        self.revision = inner.revision

    def reset(self) -> None:
        """Fresh weights of what is below."""
        self.inner.reset()

    def freeze(self, frozen: bool) -> bool:
        """Freeze the inner features."""
        return self.inner.freeze(frozen)

    def change(self, features: Tensor) -> Tensor:
        """What becomes of inner features, n x d; n x e."""
        raise NotImplementedError

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Changed features n x e of n rows."""
        return self.change(self.inner(rows))

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Changed features m x e of other rows."""
        return self.change(self.inner.encode(table))


class Projection(OnTop):
    """ELU(P·x + b) on top of another representation, in float64.

    One linear layer with Xavier-uniform weights and a constant starting bias.
    """

    def __init__(self, inner: Representation, size: int, bias: float) -> None:
        slot = Slot("projection", inner.layout.columns, size)
        super().__init__(inner, Layout((slot,)))
        self.linear = nn.Linear(inner.layout.size, size, dtype=torch.float64)
        self._bias = bias

    def reset(self) -> None:
        """Fresh inner adapters, then fresh projection weights."""
        super().reset()
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.constant_(self.linear.bias, self._bias)

    def change(self, features: Tensor) -> Tensor:
        """Projected features n x size."""
        projected: Tensor = nn.functional.elu(self.linear(features))
        return projected


class Bounded(OnTop):
    """Features scaled to [−0.95, 0.95] by one global minimum and maximum of the training ones.

    While training, the bounds are those of the features at hand (and are differentiated
    through); afterwards the last ones hold, and features are clamped to them first. This is
    GPyTorch's ScaleToBounds(−1, 1), except that equal bounds do not divide by zero.
    """

    low: Tensor
    high: Tensor

    def __init__(self, inner: Representation) -> None:
        super().__init__(inner, inner.layout)
        self.register_buffer("low", torch.tensor(-BOUND, dtype=torch.float64))
        self.register_buffer("high", torch.tensor(BOUND, dtype=torch.float64))

    def change(self, features: Tensor) -> Tensor:
        """Scaled features, same shape."""
        low, high = self.low, self.high
        if self.training:
            low, high = features.min(), features.max()
            self.low, self.high = low.detach(), high.detach()
        else:
            features = features.clamp(low, high)
        width = (high - low).clamp_min(torch.finfo(features.dtype).tiny)
        return (features - low) * (2.0 * BOUND / width) - BOUND


class SideBySide(nn.Module):
    """Several representations of the same rows, one after the other."""

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)
        self.layout = Layout(tuple(slot for part in parts for slot in part.layout))
        self.notes, self.revision = _described(parts)

    def reset(self) -> None:
        """Fresh weights of each, in order."""
        for part in self.parts:
            part.reset()

    def freeze(self, frozen: bool) -> bool:
        """Freeze those that can be; whether any differs."""
        differs = [part.freeze(frozen) for part in self.parts]
        return any(differs)

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Features of all parts, n x d."""
        return torch.cat([part(rows) for part in self.parts], dim=1)

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Features of all parts for other rows, m x d."""
        return torch.cat([part.encode(table) for part in self.parts], dim=1)


def represented(made: Sequence[Representation | Blocks]) -> Representation:
    """One representation of what builders made, side by side.

    Raises:
        ConfigError: something lacks what a Representation has.
    """
    parts = [FixedFeatures(part) if isinstance(part, Blocks) else part for part in made]
    for part in parts:
        require(part, Representation, nn.Module)
    fixed = [part for part in parts if isinstance(part, FixedFeatures)]
    if len(fixed) > 1:
        parts = [_joined(fixed), *(part for part in parts if part not in fixed)]
    return parts[0] if len(parts) == 1 else SideBySide(parts)


def _joined(parts: Sequence[FixedFeatures]) -> FixedFeatures:
    """Fixed features as one matrix.

    Of slots with one name, such as the columns that stand beside two fingerprints, the first stays.
    """
    slots: dict[str, tuple[Slot, Levels]] = {}
    dims, wide = list[int](), 0
    for part in parts:
        for slot, levels in zip(part.layout, part.blocks.parts, strict=True):
            if slot.name not in slots:
                slots[slot.name] = slot, levels
                dims += range(wide, wide + slot.size)
            wide += slot.size
    encode = Encoders(tuple((part.rows_of, part.layout) for part in parts), dims)
    layout = Layout(tuple(slot for slot, _ in slots.values()))
    blocks = Blocks.of([levels for _, levels in slots.values()], layout, encode)
    return FixedFeatures(blocks, *_described(parts))


def _described(parts: Sequence[Any]) -> tuple[tuple[str, ...], str]:
    """Notes and revisions of several representations."""
    revisions = dict.fromkeys(part.revision for part in parts if part.revision)
    return tuple(note for part in parts for note in part.notes), "+".join(revisions)


def remember(representation: Representation) -> Callable[[], None]:
    """Keep trained weights and bounds as they are; what is returned puts them back."""
    weights = [(p, p.detach().clone()) for p in representation.parameters()]
    modules = representation.modules() if isinstance(representation, nn.Module) else ()
    bounds = [(m, m.low, m.high) for m in modules if isinstance(m, Bounded)]

    def restore() -> None:
        with torch.no_grad():
            for parameter, value in weights:
                parameter.copy_(value)
        for module, low, high in bounds:
            module.low, module.high = low, high

    return restore
