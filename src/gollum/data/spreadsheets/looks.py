"""How a sheet of a workbook looks: what is coloured, chosen from a list, printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gollum.data.spreadsheets.book import optional
from gollum.data.spreadsheets.sheets import letters

NARROW, WIDE = 8, 44  # characters of a column
LOOKED_AT = 200  # rows whose cells decide how wide a column is
MOST_DECIMALS, LARGEST = 6, 1e9  # of numbers that are shown rounded
LINE = 15  # points that a line of text is high
FILL, HEAD, LOW, MIDDLE, HIGH = "FFF2CC", "E8EDF3", "F4B183", "FFFFFF", "7FB3D5"


@dataclass(frozen=True)
class Look:
    """What is special about some columns of a sheet.

    Attributes:
        fill_in: columns that are coloured, as somebody is to fill them in; what stands behind the
            last of them is not printed.
        choices: column → what its cells are chosen from, where somebody does not type.
        shares: columns with numbers from 0 to 1, shown with two decimals.
        heat: whether numbers are coloured by their size.
        tall: lines of text in a cell; more than one are wrapped.
    """

    fill_in: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shares: Sequence[str] = ()
    heat: bool = False
    tall: int = 1


def dress(sheet: Any, look: Look, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
    """Give an empty sheet its frame: frozen head, widths, drop-downs, and how it is printed.

    Args:
        sheet: of a write-only workbook, before its rows.
        look: what is special about it.
        names: heads of its k columns.
        columns: their cells.
    """
    rows, last = len(columns[0]) + 1 if columns else 1, letters(max(1, len(names)))
    printed = [i for i, name in enumerate(names, start=1) if name in look.fill_in]
    sheet.freeze_panes = "A2"
    for number, (name, cells) in enumerate(zip(names, columns, strict=True), start=1):
        texts = [line for cell in cells[:LOOKED_AT] for line in _shown(cell).split("\n")]
        head = max([(len(name) + 1) // 2, *map(len, name.split())], default=0)  # in two lines
        widest = max(map(len, texts), default=0)
        width = min(max(widest + 2, head + 2, NARROW), WIDE)
        sheet.column_dimensions[letters(number)].width = width
        if len(name) + 2 > width:  # bold letters are wide
            sheet.row_dimensions[1].height = 2 * LINE + 1
    for row in range(2, rows + 1) if look.tall > 1 else ():
        sheet.row_dimensions[row].height = LINE * look.tall
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = _styles("worksheet.properties").PageSetupProperties(
        fitToPage=True
    )
    sheet.print_options.gridLines = True
    sheet.print_title_rows = "1:1"
    sheet.print_area = f"A1:{letters(printed[-1]) if printed else last}{rows}"
    validation = _styles("worksheet.datavalidation").DataValidation
    for name, words in look.choices.items():
        column = letters(names.index(name) + 1)
        choice = validation(type="list", formula1=f'"{",".join(words)}"', allow_blank=True)
        choice.add(f"{column}2:{column}{max(2, rows)}")
        choice.errorStyle = "warning"  # other words for the same are read as well
        sheet.data_validations.append(choice)
    if look.heat and rows > 1 and len(names) > 1:
        scale = _styles("formatting.rule").ColorScaleRule(
            start_type="min", start_color=LOW, mid_type="percentile", mid_value=50,
            mid_color=MIDDLE, end_type="max", end_color=HIGH,
        )  # fmt: skip
        sheet.conditional_formatting.add(f"B2:{last}{rows}", scale)


def head_style() -> dict[str, Any]:
    """Attributes of the cells in the first row."""
    styles = _styles("styles")
    return {
        "font": styles.Font(bold=True),
        "fill": styles.PatternFill("solid", start_color=HEAD),
        "alignment": styles.Alignment(wrap_text=True, vertical="top"),
    }


def cell_styles(
    look: Look, names: Sequence[str], columns: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """Attributes of the cells of each column; few of them, as each takes time."""
    styles = _styles("styles")
    fill = {"fill": styles.PatternFill("solid", start_color=FILL)}
    wrap = {"alignment": styles.Alignment(wrap_text=True, vertical="top")}
    return [
        (fill if name in look.fill_in else {})
        | (wrap if look.tall > 1 else {})
        | _rounded(cells, 2 if name in look.shares else None)
        for name, cells in zip(names, columns, strict=True)
    ]


def _rounded(cells: Sequence[Any], decimals: int | None) -> dict[str, Any]:
    """Shown decimals of numbers with more: by default those of a thousandth of their range."""
    numbers = [cell for cell in cells if isinstance(cell, float)]
    if not numbers:
        return {}
    spread = max(numbers) - min(numbers)
    if decimals is None and spread > 0:
        decimals = max(1, 3 - math.ceil(math.log10(spread)))
    if decimals is None or decimals > MOST_DECIMALS or max(map(abs, numbers)) >= LARGEST:
        return {}
    exact = all(round(number, decimals) == number for number in numbers)
    return {} if exact else {"number_format": f"0.{'0' * decimals}"}


def _shown(cell: Any) -> str:
    """About what a cell shows."""
    return f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else str(cell)


def _styles(module: str) -> Any:
    return optional(f"openpyxl.{module}", "Excel files", "excel")
