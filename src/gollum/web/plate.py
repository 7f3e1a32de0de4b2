"""Plates: which run stands in which well, as the address of a page says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from gollum.campaign.events import Placed
from gollum.campaign.plates import ORDERS, PLATES, well

SIZES = {size: PLATES[size] for size in (24, 96)}  # rows and columns


@dataclass(frozen=True)
class Plate:
    """A plate with what stands in it.

    Attributes:
        size: number of wells.
        order: in which they are read: a key of `ORDERS`.
        controls: wells that are kept free for controls.
        wells: well → run.
        left: runs that found no place.
    """

    size: int
    order: str
    controls: tuple[str, ...]
    wells: dict[str, str]
    left: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, str], runs: Sequence[str]) -> Plate:
        """A plate as an address describes it; what it does not say is filled in reading order.

        Args:
            said: 'size', 'order', 'controls' ('A1 H12') and 'wells' ('b1-1.A2 b1-2.A3'); 'move'
                puts the run or control of one well into another ('A1 B2'), exchanging them. What
                makes no sense is passed over.
            runs: experiments to place.
        """
        fits = 24 if len(runs) <= SIZES[24][0] * SIZES[24][1] else 96
        given = said.get("size", "")
        size = int(given) if given in map(str, SIZES) else fits
        order = said.get("order", "rows")
        order = order if order in ORDERS else "rows"
        names = in_order(size, order)
        asked = said.get("controls", "").upper().replace(",", " ").split()
        controls = tuple(dict.fromkeys(w for w in asked if w in names))
        wells = dict[str, str]()
        for pair in said.get("wells", "").split():
            run, _, well = pair.rpartition(".")
            if run in runs and run not in wells.values() and well in names:
                wells.setdefault(well, run)
        wells = {well: run for well, run in wells.items() if well not in controls}
        free = (well for well in names if well not in wells and well not in controls)
        missing = [run for run in runs if run not in wells.values()]
        placed = dict(zip(free, missing, strict=False))
        left = tuple(missing[len(placed) :])
        made = cls(size, order, controls, wells | placed, left)
        ends = said.get("move", "").upper().split()
        return made.moved(*ends) if len(ends) == 2 and set(ends) <= set(names) else made

    def moved(self, start: str, end: str) -> Plate:
        """The same with the content of two wells exchanged."""
        other = {start: end, end: start}
        wells = {other.get(well, well): run for well, run in self.wells.items()}
        controls = tuple(other.get(well, well) for well in self.controls)
        return Plate(self.size, self.order, controls, wells, self.left)

    @property
    def rows(self) -> list[list[str]]:
        """The wells as they lie."""
        high, wide = SIZES[self.size]
        return [[well(r * wide + c, self.size) for c in range(wide)] for r in range(high)]

    def place(self, well: str) -> int:
        """When a well is read; after all others for none."""
        names = in_order(self.size, self.order)
        return names.index(well) if well in names else len(names)

    @property
    def reading(self) -> list[tuple[str, str]]:
        """Wells with their runs ('' for a control) in the order in which they are read."""
        held = self.wells | dict.fromkeys(self.controls, "")
        return sorted(held.items(), key=lambda item: self.place(item[0]))

    @property
    def query(self) -> str:
        """The plate as the end of an address."""
        return urlencode(said(self.size, self.order, self.controls, self.wells))


def said(
    size: int, order: str, controls: Sequence[str], wells: Mapping[str, str]
) -> dict[str, str]:
    """A plate as an address says it."""
    pairs = " ".join(f"{run}.{well}" for well, run in wells.items())
    return {"size": str(size), "order": order, "controls": " ".join(controls), "wells": pairs}


def of_kept(placed: Placed | None) -> dict[str, str]:
    """A layout that was kept, likewise; nothing where none was."""
    if placed is None:
        return {}
    return said(placed.size, placed.order, placed.controls, placed.wells)


def in_order(size: int, order: str) -> list[str]:
    """The wells of a plate in the order in which they are read."""
    high, wide = SIZES[size]
    if order == "columns":
        return [well(r * wide + c, size) for c in range(wide) for r in range(high)]
    names = []
    for r in range(high):
        turned = order == "snake" and r % 2
        names += [well(r * wide + c, size) for c in (range(wide)[::-1] if turned else range(wide))]
    return names
