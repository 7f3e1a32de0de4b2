"""From a pool in rows and in words to a surrogate of any variant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gollum.data.pool import Pool
from gollum.errors import DataError
from gollum.features import fixed
from gollum.features.base import FixedFeatures, Projection
from gollum.language.adapted import AdaptedText
from gollum.language.backbone import Backbone, load_backbone
from gollum.language.embed import Progress, Tokens, embed, tokenize
from gollum.runtime import Runtime
from gollum.surrogates.base import Surrogate
from gollum.surrogates.plan import plan
from gollum.surrogates.presets import Settings, Variant

Announce = Callable[[tuple[str, ...]], None]


@dataclass(frozen=True, eq=False)
class Problem:
    """A pool in all the forms that featurizers read.

    Attributes:
        pool: the candidates.
        texts: each candidate in words.
        structures: columns that hold SMILES.
        reactions: reaction SMILES of each candidate, where it is a reaction.
        title: what is being optimized, for people.
        unit: of the objective, or empty.
        notes: what a user should know, one sentence each.
    """

    pool: Pool
    texts: tuple[str, ...]
    structures: tuple[str, ...] = ()
    reactions: tuple[str, ...] | None = None
    title: str = ""
    unit: str = ""
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the pool and everything a featurizer reads of it."""
        parts = [self.pool.fingerprint, *self.structures, *self.texts, *(self.reactions or ())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build_surrogate(
    problem: Problem,
    variant: Variant,
    settings: Settings,
    runtime: Runtime,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Surrogate:
    """Compute what is fixed (features, embeddings, frozen layers) and return a surrogate.

    Args:
        problem: the pool.
        variant: which parts the surrogate has.
        settings: their numbers.
        runtime: where it runs.
        progress: called with (texts done, texts in all) while the language model reads.
        announce: called with sentences for the user before anything that takes long.

    Raises:
        DataError: the pool lacks what the features need, or does not fit into memory.
        ModelError: the language model can't be loaded.
    """
    featurizer: FixedFeatures | AdaptedText | Projection
    if variant.features == "language":
        featurizer = _language(problem, variant, settings, runtime, progress, announce)
    else:
        featurizer = FixedFeatures(_FIXED[variant.features](problem))
    if variant.projection:
        featurizer = Projection(featurizer, settings.projection.size, settings.projection.bias)
    featurizer.to(runtime.device)
    return Surrogate(problem.pool, featurizer, variant, settings, runtime)


def _language(
    problem: Problem,
    variant: Variant,
    settings: Settings,
    runtime: Runtime,
    progress: Progress | None,
    announce: Announce | None,
) -> FixedFeatures | AdaptedText:
    model = settings.model
    backbone = load_backbone(
        model.name, runtime, pooling=model.pooling, trust_remote_code=model.trust_remote_code
    )
    tokens = tokenize(backbone, problem.texts, model.max_tokens)
    needs = plan(problem.pool, backbone, tokens, variant, settings)
    needs.check(problem.pool)
    if announce and (note := needs.note(backbone, tokens, variant, settings.lora.fraction)):
        announce((note,))
    notes = (
        f"{backbone.name}: {backbone.pooling} pooling, {backbone.hidden_size} features, "
        f"{str(runtime.dtype).removeprefix('torch.')} on {runtime.device}.",
        *_truncation(backbone, tokens, problem.pool.name, model.max_tokens),
    )
    if variant.lora:
        return AdaptedText(
            backbone,
            tokens,
            **settings.lora.model_dump(),
            notes=notes,
            progress=progress,
            states_budget=needs.activations_budget,
        )
    vectors = embed(backbone, tokens, progress)
    if variant.scaling == "pool":
        mean, deviation = vectors.mean(), vectors.std()
        vectors.sub_(mean).div_(deviation)
    return FixedFeatures(vectors, notes, revision=backbone.revision)


def _truncation(backbone: Backbone, tokens: Tokens, pool: str, max_tokens: int) -> tuple[str, ...]:
    if not tokens.truncated:
        return ()
    longer = " or raise --model.max_tokens" if max_tokens < backbone.max_tokens else ""
    return (
        f"{pool}: {tokens.truncated} of {len(tokens)} distinct texts were cut at "
        f"{min(max_tokens, backbone.max_tokens)} tokens; shorten the template{longer}.",
    )


def _morgan(problem: Problem) -> fixed.Bits:
    if not problem.structures:
        raise DataError(
            f"{problem.pool.name}: surrogate 'morgan' needs columns with SMILES; name them with "
            "--data.structures, or use --surrogate one_hot."
        )
    return fixed.morgan(problem.pool, problem.structures)


def _drfp(problem: Problem) -> fixed.Bits:
    if problem.reactions is None:
        raise DataError(
            f"{problem.pool.name}: surrogate 'drfp' needs reaction SMILES; give their column or "
            "a template with --data.reaction, or use --surrogate morgan."
        )
    ids: Sequence[str] = [str(i) for i in problem.pool.ids]
    return fixed.drfp(problem.reactions, problem.pool.name, ids)


_FIXED: dict[str, Callable[[Problem], fixed.Matrix | fixed.Bits]] = {
    "one_hot": lambda problem: fixed.one_hot(problem.pool),
    "morgan": _morgan,
    "drfp": _drfp,
}
