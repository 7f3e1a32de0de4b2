"""Features of reaction SMILES, and which columns of a table they are written with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.fixed.columns import beside, distinct, texts
from gollum.features.fixed.molecules import N_BITS, RADIUS, rdkit
from gollum.features.layout import Bits, Blocks, block
from gollum.features.representations import REPRESENTATIONS, Setup


@REPRESENTATIONS.register(
    "drfp",
    about="differential reaction fingerprints",
    title="reaction fingerprints",
    needs=("reactions",),
)
def of_reactions(setup: Setup) -> Blocks:
    """DRFP of the candidates' reactions, with what they do not say beside them."""
    problem = setup.problem
    pool = problem.pool
    if problem.reactions is None:
        raise DataError(
            f"{pool.name}: surrogate 'drfp' needs reaction SMILES; give their column or "
            "a template with --data.reaction, or use --surrogate morgan."
        )

    def encode(table: pd.DataFrame) -> Bits:
        return drfp(problem.reactions_of(table), pool.name, list(map(str, table.index)))

    bits = drfp(problem.reactions, pool.name, [str(i) for i in pool.ids])
    covered = written_with(problem.reactions, pool)
    return beside(pool, block("drfp", covered, "bits", encode, bits), covered)


def drfp(
    reactions: Sequence[str],
    name: str,
    ids: Sequence[str],
    radius: int = RADIUS,
    n_bits: int = N_BITS,
) -> Bits:
    """Differential reaction fingerprints (0/1): substructures on one side of the arrow only.

    Source: Probst, Schwaller & Reymond, Digital Discovery 2022, 1, 91. The bits are those of the
    authors' package, but a molecule that cannot be read is an error (the package passes over it).

    Args:
        reactions: N reaction SMILES, `reactants>>products` or `reactants>agents>products`.
        name: what the pool is called in messages.
        ids: the N ids, for messages.
        radius: bonds from the central atom to the rim of a substructure.
        n_bits: length that a fingerprint is folded to.

    Returns:
        N x n_bits bits.

    Raises:
        DataError: a text is not a reaction SMILES, or one of its molecules is not valid.
        MissingExtraError: RDKit is not installed.
    """
    chem = rdkit("the reaction fingerprint")

    @cache
    def substructures(smiles: str) -> frozenset[str] | None:
        molecule = chem.MolFromSmiles(smiles)
        return None if molecule is None else frozenset(_parts(chem, molecule, radius))

    different, first, inverse = distinct(reactions)
    bits = np.zeros((len(different), n_bits), dtype=np.uint8)
    with chem.rdBase.BlockLogs():
        for i, reaction in enumerate(different):
            changed = _changed(reaction, f"{name}: candidate '{ids[first[i]]}'", substructures)
            bits[i, [_place(part) % n_bits for part in changed]] = 1
    return bits[inverse]


def _parts(chem: Any, molecule: Any, radius: int) -> Iterator[str]:
    """Rings, atoms, and what surrounds each atom by 1 to `radius` bonds, as SMILES."""
    for bonds in molecule.GetRingInfo().BondRings():
        yield chem.MolToSmiles(chem.PathToSubmol(molecule, bonds), allHsExplicit=True)
    for atom in molecule.GetAtoms():
        yield atom.GetSmarts()
        for size in range(1, radius + 1):
            place: dict[int, int] = {}  # of the molecule's atoms in what surrounds this one
            bonds = chem.FindAtomEnvironmentOfRadiusN(molecule, size, atom.GetIdx())
            around = chem.PathToSubmol(molecule, bonds, atomMap=place)
            if place:  # else the molecule ends before
                root = place[atom.GetIdx()]
                yield chem.MolToSmiles(around, rootedAtAtom=root, allHsExplicit=True)


def _place(part: str) -> int:
    """Signed 32 bits of BLAKE2b, by which a part finds its bit."""
    return int.from_bytes(blake2b(part.encode(), digest_size=4).digest(), signed=True)


def written_with(reactions: Sequence[str], pool: Pool) -> list[str]:
    """Columns whose molecules all occur in the reaction of their row: a reaction says them.

    Args:
        reactions: N reaction SMILES.
        pool: their N candidates.
    """
    sides = [_molecules(reaction) for reaction in reactions]
    return [
        str(column)
        for column in pool.table.columns
        if all(_molecules(c) <= s for c, s in zip(texts(pool.table[column]), sides, strict=True))
    ]


def _molecules(smiles: str) -> frozenset[str]:
    return frozenset(re.split(r"[.>]", smiles)) - {""}


def _changed(
    reaction: str, where: str, substructures: Callable[[str], frozenset[str] | None]
) -> frozenset[str]:
    """Substructures on one side of a reaction only; agents stand with the reactants."""
    sides = reaction.split(">")
    if len(sides) != 3 or not (sides[0].strip(". ") and sides[2].strip(". ")):
        raise DataError(
            f"{where}: '{reaction}' is not a reaction SMILES; write 'reactants>>products', with "
            "dots between molecules and no other '>' (a dative bond '->' as '-')."
        )

    def merged(side: str) -> frozenset[str]:
        parts = {smiles: substructures(smiles) for smiles in side.split(".") if smiles}
        for smiles, found in parts.items():
            if found is None:
                raise DataError(
                    f"{where}: '{smiles}' in the reaction '{reaction}' is not a valid SMILES; "
                    "correct it in the table."
                )
        return frozenset().union(*filter(None, parts.values()))

    return merged(f"{sides[0]}.{sides[1]}") ^ merged(sides[2])
