"""Pictures of a whole campaign on the lab's page, for docs/serve.md; needs Chromium.

    python scripts/serve_pictures.py [--browser /usr/bin/chromium]

A chemist begins with a spreadsheet, asks for experiments, lays out a plate, types in results, sees
what was learned, and asks what if. The reaction is simulated.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures" / "serve"
WIDE, HIGH, NARROW = 1280, 900, 390  # pixels
SMILES = {
    "XPhos": "CC(C)c1cc(C(C)C)c(-c2ccccc2P(C2CCCCC2)C2CCCCC2)c(C(C)C)c1",
    "SPhos": "COc1cccc(OC)c1-c1ccccc1P(C1CCCCC1)C1CCCCC1",
    "PCy3": "C1CCC(P(C2CCCCC2)C2CCCCC2)CC1",
    "PPh3": "c1ccc(P(c2ccccc2)c2ccccc2)cc1",
}
BASES, SOLVENTS, TEMPERATURES = ("K2CO3", "Cs2CO3", "K3PO4"), ("toluene", "dioxane"), (60, 80, 100)


def truth(ligand: str, base: str, solvent: str, temperature: float) -> float:
    """The yield in % of a reaction that never took place."""
    best = {"XPhos": 52, "SPhos": 44, "PCy3": 25, "PPh3": 8}[ligand]
    rest = 12 * BASES.index(base) + 9 * SOLVENTS.index(solvent)
    return max(0.0, round(best + rest - abs(temperature - 85) / 2.5, 1))


def table() -> str:
    """A spreadsheet of all possible experiments, with German decimal commas and one old result."""
    lines = ["exp;ligand;ligand_smiles;base;solvent;temperature_C;yield;operator"]
    for ligand, smiles in SMILES.items():
        for base in BASES:
            for solvent in SOLVENTS:
                for heat in TEMPERATURES:
                    old = (ligand, base, heat) == ("PPh3", "K2CO3", 60)
                    known = str(truth(ligand, base, solvent, heat)).replace(".", ",") * old
                    name = f"E{len(lines)}"
                    cells = (name, ligand, smiles, base, solvent, str(heat), known, "JR" * old)
                    lines.append(";".join(cells))
    return "\n".join(lines)


def results(page: Page) -> None:
    """Type what came of each experiment of the grid."""
    for row in page.locator("#grid tbody tr:not(.extra)").all():
        cells = [row.locator(f"td[data-head={name}]").inner_text()
                 for name in ("ligand", "base", "solvent", "temperature_C")]  # fmt: skip
        value = truth(cells[0], cells[1], cells[2], float(cells[3]))
        row.locator("input.figure").fill(str(value).replace(".", ","))


class Session:
    """A campaign by clicking, with a picture of each step."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def picture(self, name: str, high: int = HIGH) -> None:
        """Keep what is seen."""
        self.count += 1
        self.page.mouse.move(0, 0)
        self.page.set_viewport_size({"width": self.page.viewport_size["width"], "height": high})
        self.page.wait_for_timeout(300)
        content = io.BytesIO(self.page.screenshot())
        small = Image.open(content).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        small.save(PICTURES / f"{self.count:02}-{name}.png", optimize=True)

    def follow(self, tab: str, path: str) -> None:
        """Go to another part of the campaign, and wait for its scripts."""
        self.page.get_by_role("navigation").get_by_role("link", name=tab).click()
        self.page.wait_for_url(f"**/{path}")

    def suggest(self, count: int) -> None:
        """Ask for experiments and wait for them."""
        self.page.get_by_label("How many").fill(str(count))
        self.page.get_by_role("button", name="Suggest").click()
        self.page.get_by_role("rowheader", name=re.compile(r"^b\d+-")).first.wait_for()

    def record(self) -> None:
        """Take in the grid."""
        self.page.get_by_role("button", name="Record", exact=True).click()
        self.page.get_by_text("Recorded:").wait_for()

    def play(self, sheet: Path) -> None:
        """The whole campaign."""
        page = self.page
        page.get_by_role("link", name="Begin a campaign").click()
        page.wait_for_url("**/begin")
        page.get_by_label("Choose or drop a file").set_input_files(sheet)
        page.wait_for_url("**/begin/*")
        page.get_by_label("Name", exact=True).fill("Suzuki coupling")
        self.picture("begin", 1180)
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/c/*")
        self.suggest(8)
        self.picture("first-experiments", 1000)
        self.follow("Plate", "plate")
        page.get_by_label("Controls in").fill("A1 D6")
        page.get_by_role("button", name="Lay out").click()
        page.wait_for_url("**/plate?*")
        page.drag_and_drop("td[data-well=B3]", "td[data-well=C1]")
        self.picture("plate", 900)
        self.follow("Results", "results")
        results(page)
        field = page.get_by_label("yield of b1-3")
        right = field.input_value()
        field.fill("good")
        page.locator("input[aria-invalid]").wait_for()
        self.picture("marked-before-recording", 760)
        field.fill(right)
        self.record()
        for _ in range(2):
            self.follow("Next", "Suzuki%20coupling")
            self.suggest(4)
            if self.count == 4:
                self.picture("next-experiments", 1000)
            self.follow("Results", "results")
            results(page)
            self.record()
        self.follow("Progress", "progress")
        page.get_by_role("button", name="Ask the model").click()
        page.get_by_role("heading", name="What matters").wait_for()
        self.picture("progress", 1050)
        page.get_by_role("heading", name="What was learned").evaluate("h => h.scrollIntoView()")
        self.picture("learned", 1250)
        self.follow("What if", "what-if")
        page.get_by_role("button", name="Predict all candidates").click()
        page.get_by_text("One change away").wait_for()
        self.picture("what-if", 1000)
        self.follow("History", "history")
        page.get_by_role("button", name="Compute past suggestions again").click()
        page.get_by_text("batch 3 (4 experiments): agrees.").wait_for(timeout=120_000)
        self.picture("history", 1100)
        self.follow("Next", "Suzuki%20coupling")
        self.suggest(4)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": NARROW, "height": HIGH})
        self.picture("phone-in-the-dark", HIGH)


def main(act: Callable[[Page, Path], None]) -> None:
    """Serve an empty folder to a browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default="/usr/bin/chromium", metavar="FILE")
    browser = parser.parse_args().browser
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name) / "reactions"
        folder.mkdir()
        sheet = Path(name) / "Suzuki.csv"
        sheet.write_text(table(), encoding="utf-8")
        server = subprocess.Popen(
            [sys.executable, "-m", "gollum.cli", "serve", str(folder)], text=True,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        try:
            line = "" if server.stdout is None else server.stdout.readline()
            made = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = made.new_page(viewport={"width": WIDE, "height": HIGH})
            page.set_default_timeout(120_000)
            page.goto(line.split()[1])
            act(page, sheet)
            made.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    main(lambda page, sheet: Session(page).play(sheet))
