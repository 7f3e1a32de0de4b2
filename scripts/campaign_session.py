"""A whole campaign through its commands and spreadsheets alone, written down as it happens.

The 5,760 Suzuki–Miyaura couplings of Perera et al. are the possible experiments; what a chemist
would fill in is looked up in the published table. Needs the task's file (`gollum tasks
suzuki-perera` says where from).

    python scripts/campaign_session.py docs/campaign-session.md --folder runs/session
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from gollum.analysis.metrics import top_threshold
from gollum.data.catalog import get_task
from gollum.data.readers import read_table
from gollum.data.writers import write_sheet

COLUMNS = ["quinoline", "indazole", "ligand", "base", "solvent"]
INTRODUCTION = """# A campaign, as it looks

A chemist wants the best yield of a Suzuki–Miyaura coupling: 5,760 combinations of electrophile,
nucleophile, ligand, base and solvent (Perera et al., Science 2018, 359, 429), of which {count} will
be tried, eight a day. Everything goes through spreadsheets. What stands here was printed by the
commands; the results were looked up in the published table, which the campaign never saw.
Made by `scripts/campaign_session.py`.

`conditions.xlsx` has one row per combination and an empty column `yield`:

{head}
"""


def main() -> None:
    """Run the session and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("runs/session"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=8)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    pool = get_task("suzuki-perera").load()
    truth = dict(zip(pool.ids, pool.values, strict=True))
    conditions = pool.table[COLUMNS].assign(**{"yield": ""})
    write_sheet(conditions, given.folder / "conditions.xlsx")
    cells = [COLUMNS, ["---"] * len(COLUMNS), *pool.table[COLUMNS].head(3).to_numpy().tolist()]
    head = "\n".join(f"| {' | '.join([*row, what])} |" for row, what in zip(
        cells, ("yield", "---", "", "", ""), strict=True))  # fmt: skip
    lines = [INTRODUCTION.format(count=given.rounds * given.size, head=head)]

    def run(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "gollum.cli", *words], cwd=given.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env=os.environ | {"COLUMNS": "100"},
        )  # fmt: skip
        lines.append(f"```console\n$ gollum {' '.join(words)}\n{done.stdout.rstrip()}\n```\n")
        print(lines[-1])
        if done.returncode:
            raise SystemExit(f"gollum {words[0]} failed")

    run("init", "suzuki.gollum", "--table", "conditions.xlsx", "--objective", "yield")
    for number in range(1, given.rounds + 1):
        lines.append(f"## Day {number}\n")
        sheet = f"day{number}.xlsx"
        run("suggest", "suzuki.gollum", "-n", str(given.size), "-o", sheet)
        frame = read_table(given.folder / sheet)
        frame["yield"] = [round(float(truth[i]), 1) for i in frame["id"]]
        write_sheet(frame, given.folder / sheet)
        values = ", ".join(f"{value:g}" for value in frame["yield"])
        lines.append(f"The chemist fills in the column `yield`: {values}.\n")
        run("record", "suzuki.gollum", sheet)
    lines.append("## Where it stands\n")
    run("status", "suzuki.gollum")
    run("replay", "suzuki.gollum", "--quiet")
    run("report", "suzuki.gollum", "-o", "report.html", "--quiet")
    run("export", "suzuki.gollum", "-o", "results.csv")
    results = read_table(given.folder / "results.csv")["yield"]
    best, limit = pool.values.max(), top_threshold(pool.values)
    lines.append(
        f"The best of {len(results)} experiments gave {results.max():g}, the best of all "
        f"{len(truth):,} {best:.1f}. {int((results >= round(limit, 1)).sum())} of {len(results)} "
        f"are among the best 5 % (from {limit:.1f} on), where chance would have put "
        f"{0.05 * len(results):.0f}.\n"
    )
    lines.append("The page that `report` wrote: [campaign-report.html](campaign-report.html).\n")
    report = (given.folder / "report.html").read_bytes()
    given.page.with_name("campaign-report.html").write_bytes(report)
    given.page.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
