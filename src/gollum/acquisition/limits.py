"""What a batch must not exceed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Limits:
    """How often a batch may hold candidates that share something, and how far apart they are.

    Attributes:
        groups: for each limit, the group of each of N candidates (numbers from 0 on), and how many
            of a group a batch may hold.
        taken: positions of candidates that the batch holds already.
        columns: for each of k columns, which level each of N candidates has.
        apart: in how many of these any two candidates of a batch differ at least.
    """

    groups: tuple[tuple[Rows, int], ...] = ()
    taken: tuple[int, ...] = ()
    columns: tuple[Rows, ...] = ()
    apart: int = 0

    @property
    def bind(self) -> bool:
        """Whether there are any."""
        return bool(self.groups) or self.apart > 1

    def allowed(self, rows: Rows, chosen: Sequence[int]) -> NDArray[np.bool_]:
        """Which of m candidates can join the batch after some were chosen; m flags."""
        flags = np.ones(len(rows), dtype=bool)
        held = np.array([*self.taken, *chosen], dtype=np.int64)
        for group, most in self.groups:
            counts = np.bincount(group[held], minlength=int(group.max()) + 1)
            flags &= counts[group[rows]] < most
        for other in held if self.apart > 1 else ():
            differ = np.zeros(len(rows), dtype=np.int64)
            for codes in self.columns:
                differ += codes[rows] != codes[other]
            flags &= differ >= self.apart
        return flags


NO_LIMITS = Limits()
