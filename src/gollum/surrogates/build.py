"""From a pool in rows and in words to a surrogate of any variant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from gollum.data.pool import Pool
from gollum.errors import ConfigError, DataError
from gollum.features.base import FixedFeatures, Projection
from gollum.features.columns import beside
from gollum.features.fixed import fixed_features
from gollum.features.reactions import written_with
from gollum.language.backbone import Backbone
from gollum.language.embed import Progress, Tokens, embed, random_vectors, tokenize
from gollum.language.engine import AdaptedText
from gollum.language.loading import load_backbone
from gollum.language.remote import Endpoint, Store, embed_remote
from gollum.language.vectors import are_kept, kept_vectors
from gollum.runtime import Runtime
from gollum.surrogates.base import Surrogate
from gollum.surrogates.plan import check_weights, plan
from gollum.surrogates.presets import Settings, Variant
from gollum.text.template import Template

Announce = Callable[[tuple[str, ...]], None]
Consent = Callable[[str], bool]


@dataclass(frozen=True, eq=False)
class Problem:
    """A pool in all the forms that featurizers read.

    Attributes:
        pool: the candidates.
        texts: each candidate in words.
        template: what the texts were written by.
        structures: columns that hold SMILES.
        reactions: reaction SMILES of each candidate, where it is a reaction.
        title: what is being optimized, for people.
        unit: of the objective, or empty.
        notes: what a user should know, one sentence each.
        noise: seed of random vectors that stand for the texts' embeddings; None for real ones.
    """

    pool: Pool
    texts: tuple[str, ...]
    template: Template | None = None
    structures: tuple[str, ...] = ()
    reactions: tuple[str, ...] | None = None
    title: str = ""
    unit: str = ""
    notes: tuple[str, ...] = ()
    noise: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the pool and everything a featurizer reads of it."""
        parts = [self.pool.fingerprint, *self.structures, *self.texts, *(self.reactions or ())]
        parts += [] if self.noise is None else [f"noise {self.noise}"]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build_surrogate(
    problem: Problem,
    variant: Variant,
    settings: Settings,
    runtime: Runtime,
    progress: Progress | None = None,
    announce: Announce | None = None,
    consent: Consent | None = None,
    keep: bool = False,
) -> Surrogate:
    """Compute what is fixed (features, embeddings, frozen layers) and return a surrogate.

    Args:
        problem: the pool.
        variant: which parts the surrogate has.
        settings: their numbers.
        runtime: where it runs.
        progress: called with (texts done, texts in all) while the language model reads.
        announce: called with sentences for the user before anything that takes long.
        consent: asked with one sentence before texts are sent to a server, unless the settings
            allow it.
        keep: whether the embeddings of a frozen model are kept on disk for later processes.

    Raises:
        DataError: the pool lacks what the features need, or does not fit into memory.
        ModelError: the language model can't be loaded.
    """
    featurizer: FixedFeatures | AdaptedText | Projection
    if variant.features == "language" and settings.remote.url is not None:
        featurizer = _remote(problem, variant, settings, progress, consent)
    elif variant.features == "language":
        featurizer = _language(problem, variant, settings, runtime, progress, announce, keep)
    else:
        matrix = fixed_features(
            variant.features, problem.pool, problem.structures, problem.reactions
        )
        featurizer = FixedFeatures(matrix)
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
    keep: bool,
) -> FixedFeatures | AdaptedText:
    model = settings.model
    check_weights(settings, runtime)
    backbone = load_backbone(
        model.name,
        runtime,
        pooling=model.pooling,
        normalize=model.normalize,
        prefix=model.prefix,
        bits=model.bits,
        trust_remote_code=model.trust_remote_code,
    )
    texts = _texts(problem, backbone)
    tokens = tokenize(backbone, texts, model.max_tokens)
    if texts is problem.texts and not model.allow_truncation:
        _refuse_lost_columns(problem, tokens, min(model.max_tokens, backbone.max_tokens))
    needs = plan(problem.pool, backbone, tokens, variant, settings)
    needs.check(problem.pool)
    keep = keep and model.bits is None and not variant.lora
    known = keep and are_kept(backbone, tokens)
    if (
        announce
        and not known
        and (note := needs.note(backbone, tokens, variant, settings.lora.fraction))
    ):
        announce((note,))
    notes = (
        backbone.describe(),
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
    if problem.noise is not None:
        vectors = random_vectors(backbone, tokens, problem.noise)
    else:
        read = kept_vectors if keep else embed
        vectors = read(backbone, tokens, progress)
    features = _scaled(vectors, variant)
    if texts is problem.reactions:
        features = _with_other_columns(problem, features)
    return FixedFeatures(features, notes, revision=backbone.revision)


def _remote(
    problem: Problem,
    variant: Variant,
    settings: Settings,
    progress: Progress | None,
    consent: Consent | None,
) -> FixedFeatures:
    """Embeddings from a server."""
    if variant.lora:
        raise ConfigError(
            "a model behind a server can't be adapted; use --surrogate pllm or static with "
            "--remote.url."
        )
    keys = settings.remote
    endpoint = Endpoint(**keys.model_dump(exclude={"confirm"}))
    vectors = embed_remote(
        endpoint,
        problem.texts,
        Store(),
        confirm=lambda sentence: keys.confirm or (consent is not None and consent(sentence)),
        progress=progress,
    )
    note = f"{endpoint.model} at {endpoint.host}: {vectors.shape[1]} features."
    features = _scaled(torch.from_numpy(vectors), variant)
    return FixedFeatures(features, (note,), revision=endpoint.revision)


def _scaled(vectors: torch.Tensor, variant: Variant) -> torch.Tensor:
    """The whole matrix standardised in place, where the variant wants that."""
    if variant.scaling == "pool":
        mean, deviation = vectors.mean(), vectors.std()
        vectors.sub_(mean).div_(deviation)
    return vectors


def _with_other_columns(problem: Problem, features: torch.Tensor) -> torch.Tensor:
    """What a reaction SMILES does not say (temperatures, times) beside its vector."""
    covered = written_with(problem.reactions or (), problem.pool)
    matrix = features.cpu().numpy()
    complete = beside(problem.pool, matrix, covered)
    return features if complete is matrix else torch.from_numpy(complete).to(features.device)


def _texts(problem: Problem, backbone: Backbone) -> tuple[str, ...]:
    """What the model reads of each candidate.

    Raises:
        DataError: it reads reaction SMILES and there are none.
    """
    if backbone.reads == "text":
        return problem.texts
    if problem.reactions is None:
        raise DataError(
            f"{problem.pool.name}: model '{backbone.name}' reads reaction SMILES; give their "
            "column or a template with --data.reaction, or take a model that reads text."
        )
    return problem.reactions


def _refuse_lost_columns(problem: Problem, tokens: Tokens, limit: int) -> None:
    """A candidate whose text is cut must not lose what tells it from others.

    A text that was read from one column is nobody's to judge; a note counts the cut ones.

    Raises:
        DataError: naming the first row and what it loses.
    """
    if problem.template is None or len(problem.template.slots) < 2:
        return
    _, first = np.unique(tokens.index, return_index=True)
    for number, read in sorted(tokens.read.items()):
        row = int(first[number])
        spans = problem.template.render_row(problem.pool, row).spans
        lost = dict.fromkeys(span.column for span in spans if span.end > read)
        if lost:
            raise DataError(
                f"{problem.pool.name}: the text of '{problem.pool.ids[row]}' is cut at {limit} "
                f"tokens and loses {', '.join(map(repr, lost))}; shorten the template, put these "
                "columns first, raise --model.max_tokens if the model takes more, or allow it "
                "with --model.allow_truncation true."
            )


def _truncation(backbone: Backbone, tokens: Tokens, pool: str, max_tokens: int) -> tuple[str, ...]:
    if not tokens.truncated:
        return ()
    longer = " or raise --model.max_tokens" if max_tokens < backbone.max_tokens else ""
    return (
        f"{pool}: {tokens.truncated} of {len(tokens)} distinct texts were cut at "
        f"{min(max_tokens, backbone.max_tokens)} tokens; shorten the template{longer}.",
    )
