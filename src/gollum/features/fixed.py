"""Fixed features by name: what a surrogate without a language model sees of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features.columns import Bits, Matrix, beside, one_hot
from gollum.features.molecules import descriptors, fragments, morgan
from gollum.features.reactions import drfp, written_with

FIXED = ("one_hot", "morgan", "fragments", "descriptors", "drfp")
OF_MOLECULES: dict[str, Callable[[Pool, Sequence[str]], Matrix | Bits]] = {
    "morgan": morgan,
    "fragments": fragments,
    "descriptors": descriptors,
}


def fixed_features(
    name: str, pool: Pool, structures: Sequence[str], reactions: Sequence[str] | None
) -> Matrix | Bits:
    """Features of a pool; what a fingerprint does not see stands beside it (see `beside`).

    Args:
        name: one of `FIXED`.
        pool: N candidates.
        structures: columns that hold SMILES.
        reactions: their N reaction SMILES, where they are reactions.

    Returns:
        N x d features.

    Raises:
        DataError: the pool lacks what the features are made from.
        MissingExtraError: a package is not installed.
    """
    if name == "one_hot":
        return one_hot(pool)
    if name == "drfp":
        if reactions is None:
            raise DataError(
                f"{pool.name}: surrogate 'drfp' needs reaction SMILES; give their column or "
                "a template with --data.reaction, or use --surrogate morgan."
            )
        bits = drfp(reactions, pool.name, [str(i) for i in pool.ids])
        return beside(pool, bits, written_with(reactions, pool))
    if not structures:
        raise DataError(
            f"{pool.name}: surrogate '{name}' needs columns with SMILES; name them with "
            "--data.structures, or use --surrogate one_hot."
        )
    return beside(pool, OF_MOLECULES[name](pool, structures), structures)
