"""Representations of words: embeddings of a language model, fine-tuned or not, and projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gollum.errors import ConfigError, DataError
from gollum.features.base import Bounded, FixedFeatures, Projection
from gollum.features.fixed.columns import beside
from gollum.features.fixed.reactions import written_with
from gollum.features.layout import (
    Blocks,
    Layout,
    Levels,
    Slot,
    block,
    side_by_side,
)
from gollum.features.leveled import AdaptedLevels, WordColumn, numbers_beside
from gollum.features.plan import Plan, check_weights, plan
from gollum.features.problem import Problem
from gollum.features.representations import Representation, Setup
from gollum.language.embed import Tokens, embed, random_vectors, tokenize
from gollum.language.remote import Endpoint, Store, embed_remote
from gollum.language.sources import find_model
from gollum.language.vectors import Recall, are_kept, kept_vectors
from gollum.settings import ModelSettings

if TYPE_CHECKING:
    from gollum.language.backbone import Backbone
    from gollum.language.engine import AdaptedText


def embedded(setup: Setup) -> FixedFeatures:
    """Frozen embeddings, the whole matrix standardised by one mean and one deviation."""
    return _frozen(setup, standardised=True)


def projected(setup: Setup) -> Representation:
    """A trained projection of frozen embeddings."""
    return _projection(setup, _frozen(setup, projected=True))


def adapted(setup: Setup) -> Representation:
    """Embeddings of a model that is fine-tuned with LoRA."""
    return Bounded(_adapted(setup))


def projected_adapters(setup: Setup) -> Representation:
    """A trained projection of those."""
    return _projection(setup, _adapted(setup, projected=True))


def adapted_levels(setup: Setup) -> Representation:
    """The levels of each column by a model that is fine-tuned with LoRA, and numbers beside."""
    return Bounded(_adapted_levels(setup))


def projected_adapted_levels(setup: Setup) -> Representation:
    """A trained projection of those."""
    return _projection(setup, _adapted_levels(setup, projected=True))


def reaction_fingerprints(setup: Setup) -> FixedFeatures:
    """RXNFP: embeddings of reactions by a model of their own, unless another is named."""
    settings = setup.settings
    if settings.model.name == ModelSettings().name:
        model = settings.model.model_copy(update={"name": "rxnfp"})
        settings = settings.model_copy(update={"model": model})
    return _frozen(replace(setup, settings=settings), standardised=True)


def embedded_levels(setup: Setup) -> FixedFeatures:
    """Frozen embeddings of each level of a column by itself, a slot per column of words.

    A table of thousands of rows has a few dozen levels. Columns that rename an earlier one, and
    constant ones, are left out, as in `one_hot`; each block is standardised as a whole.

    Raises:
        DataError: no column of words differs between the candidates.
    """
    reader = _Reader(setup)
    parts = [_levels(reader, column) for column in WordColumn.all_of(setup.problem.pool)]
    notes, revision = reader.describe()
    reader.forget()
    return FixedFeatures(side_by_side(parts), notes, revision)


class AdaptedTexts(nn.Module):
    """The texts of a problem through a model with trainable adapters."""

    def __init__(
        self, text: AdaptedText, problem: Problem | None = None, max_tokens: int = 512
    ) -> None:
        super().__init__()
        self.text, self.problem, self.max_tokens = text, problem, max_tokens
        columns = problem.template.columns if problem and problem.template else ()
        self.layout = Layout((Slot("adapters", tuple(columns), text.size),))
        self.notes, self.revision = text.notes, text.revision

    def reset(self) -> None:
        """Start over from the pretrained weights, with fresh adapters."""
        self.text.reset()

    def freeze(self, frozen: bool) -> bool:
        """Give the pretrained model's vectors as long as `frozen`."""
        return self.text.freeze(frozen)

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        """Pooled vectors n x h, float64, of n rows of the pool."""
        vectors: Tensor = self.text(rows)
        return vectors

    def encode(self, table: pd.DataFrame) -> Tensor:
        """Pooled vectors m x h of other rows, read by the model as it is adapted now.

        Raises:
            DataError: their texts can't be written.
        """
        if self.problem is None:
            raise DataError("these features were given as tokens, so other rows have none.")
        reads_texts = self.text.backbone.reads == "text"
        written = self.problem.texts_of if reads_texts else self.problem.reactions_of
        tokens = tokenize(self.text.backbone, written(table), self.max_tokens)
        read: Tensor = self.text.read(tokens)
        return read


class _Reader:
    """Reads texts with the model, local or behind a server, that the settings name."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._backbone: Backbone | None = None
        self._known: tuple[str, str] | None = None

    def __call__(self, words: Sequence[str]) -> Tensor:
        """Vectors n x h, float64."""
        setup, settings = self.setup, self.setup.settings
        if settings.remote.url is None:
            if (known := self.recalled(words)) is not None:
                return known
            tokens = tokenize(self.backbone, words, settings.model.max_tokens)
            read = self.read(tokens)
            self.remember(words, tokens)
            return read
        keys = settings.remote
        endpoint = Endpoint(**keys.model_dump(exclude={"confirm"}))
        vectors = embed_remote(
            endpoint,
            words,
            Store(),
            confirm=lambda sentence: keys.confirm or setup.listener.consents(sentence),
            progress=setup.listener.advanced,
        )
        about = f"{endpoint.model} at {endpoint.host}: {vectors.shape[1]} features."
        self._known = about, endpoint.revision
        return torch.from_numpy(vectors)

    def read(self, tokens: Tokens) -> Tensor:
        """Vectors n x h, float64, of n tokenized texts, or what a control puts in their place."""
        noise = self.setup.problem.noise
        if noise is not None:
            return random_vectors(self.backbone, tokens, noise)
        read = kept_vectors if self.keeps else embed
        return read(self.backbone, tokens, self.setup.listener.advanced)

    def recalled(self, words: Sequence[str]) -> Tensor | None:
        """Vectors n x h that an earlier process has kept, without loading the model; or None."""
        if (place := self._place(words)) is None or (found := place.read()) is None:
            return None
        vectors, about, revision = found
        self._known = about, revision
        return vectors.to(self.setup.runtime.device)

    def remember(self, words: Sequence[str], tokens: Tokens) -> None:
        """Keep where the vectors of these texts are, for `recalled`."""
        if (place := self._place(words)) is not None:
            place.write(self.backbone, tokens)

    def _place(self, words: Sequence[str]) -> Recall | None:
        """Where they are looked for; None where nothing is kept, or it may be another model."""
        model = self.setup.settings.model
        if not self.keeps or self.setup.problem.noise is not None:
            return None
        source = find_model(model.name)
        if source.card.reads != "text" or not isinstance(source.location, Path):
            return None
        return Recall.of(words, source.location, model, self.setup.runtime)

    @property
    def keeps(self) -> bool:
        """Whether vectors are kept on disk."""
        return self.setup.keep and self.setup.settings.model.bits is None

    @property
    def backbone(self) -> Backbone:
        """The local model, loaded when it is first needed.

        Raises:
            ModelError: it can't be, or would not fit.
        """
        if self._backbone is None:
            settings, runtime = self.setup.settings, self.setup.runtime
            check_weights(settings, runtime)
            from gollum.language.loading import load_backbone

            names = ("pooling", "normalize", "prefix", "bits", "trust_remote_code")
            keys = settings.model.model_dump(include={*names})
            self._backbone = load_backbone(settings.model.name, runtime, **keys)
        return self._backbone

    def forget(self) -> None:
        """Let go of the weights; they are loaded anew should other rows come."""
        self._backbone = None

    def describe(self) -> tuple[tuple[str, ...], str]:
        """A note on the model, and its revision."""
        if self._known is not None:
            return (self._known[0],), self._known[1]
        return (self.backbone.describe(),), self.backbone.revision


def _frozen(setup: Setup, *, standardised: bool = False, projected: bool = False) -> FixedFeatures:
    """Embeddings of the candidates' texts, or of their reactions where the model reads those."""
    problem, reader = setup.problem, _Reader(setup)
    cut: tuple[str, ...] = ()
    if setup.settings.remote.url is not None:
        vectors, reads_reactions = reader(problem.texts), False
    elif (recalled := reader.recalled(problem.texts)) is not None:
        vectors, reads_reactions = recalled, False
    else:
        reads_reactions = reader.backbone.reads != "text"
        tokens, needs = _tokens(setup, reader.backbone, projected=projected)
        known = reader.keeps and are_kept(reader.backbone, tokens)
        if not known and (note := needs.note(reader.backbone, tokens, False, 1.0)):
            setup.listener.noted((note,))
        vectors = reader.read(tokens)
        reader.remember(problem.texts, tokens)
        cut = _truncation(reader.backbone, tokens, problem.pool.name, setup)
    (about, *_), revision = reader.describe()
    centre, scale = (vectors.mean(), vectors.std()) if standardised else (None, None)
    if centre is not None and scale is not None:
        vectors.sub_(centre).div_(scale)  # in place: a copy of a million rows is large

    def encode(table: pd.DataFrame) -> NDArray[np.float64]:
        written = problem.reactions_of if reads_reactions else problem.texts_of
        if problem.noise is not None:
            raise DataError(f"{problem.pool.name}: random embeddings are those of its rows only.")
        found = reader(written(table))
        reader.forget()
        if centre is not None and scale is not None:
            found = found.sub_(centre).div_(scale)
        return found.cpu().numpy()

    reader.forget()
    columns = problem.template.columns if problem.template and not reads_reactions else ()
    name = "rxnfp" if reads_reactions else "text"
    slot = Slot(name, tuple(columns), vectors.shape[1])
    blocks = Blocks(vectors, Layout((slot,)), encode)
    if reads_reactions:
        blocks = _with_other_columns(problem, blocks)
    return FixedFeatures(blocks, (about, *cut), revision)


def _adapted(setup: Setup, *, projected: bool = False) -> AdaptedTexts:
    """The candidates' texts through a model with adapters; raises as `_local`."""
    backbone = _local(setup)
    tokens, needs = _tokens(setup, backbone, adapted=True, projected=projected)
    text = _with_adapters(setup, backbone, tokens, needs)
    return AdaptedTexts(text, setup.problem, setup.settings.model.max_tokens)


def _adapted_levels(setup: Setup, *, projected: bool = False) -> AdaptedLevels:
    """Levels of the candidates' columns through a model with adapters, and numbers beside.

    Raises:
        ConfigError: the model is behind a server, or reads reactions.
        DataError: no column of words differs between the candidates.
    """
    backbone, pool, model = _local(setup), setup.problem.pool, setup.settings.model
    if backbone.reads != "text":
        raise ConfigError(
            f"model '{backbone.name}' reads reactions, not levels of columns; take whole rows "
            "(--surrogate pllm_phi) or a model that reads text."
        )
    columns = WordColumn.all_of(pool)
    words = [text for column in columns for text in column.words]
    tokens = tokenize(backbone, words, model.max_tokens)
    needs = plan(pool, backbone, tokens, setup.settings, adapted=True, projected=projected)
    needs.check(pool)
    text = _with_adapters(setup, backbone, tokens, needs)
    return AdaptedLevels(text, columns, numbers_beside(pool), model.max_tokens)


def _local(setup: Setup) -> Backbone:
    """The language model, which has to be on this machine to be adapted.

    Raises:
        ConfigError: it is behind a server.
    """
    if setup.settings.remote.url is not None:
        raise ConfigError(
            "a model behind a server can't be adapted; use --surrogate pllm or static with "
            "--remote.url."
        )
    return _Reader(setup).backbone


def _with_adapters(setup: Setup, backbone: Backbone, tokens: Tokens, needs: Plan) -> AdaptedText:
    """Texts through a model with adapters, and what a user should know of it."""
    if note := needs.note(backbone, tokens, True, setup.settings.lora.fraction):
        setup.listener.noted((note,))
    from gollum.language.engine import AdaptedText

    return AdaptedText(
        backbone,
        tokens,
        **setup.settings.lora.model_dump(),
        notes=(
            backbone.describe(),
            *_truncation(backbone, tokens, setup.problem.pool.name, setup),
        ),
        progress=setup.listener.advanced,
        states_budget=needs.activations_budget,
    )


def _projection(setup: Setup, inner: Representation) -> Representation:
    keys = setup.settings.projection
    return Bounded(Projection(inner, keys.size, keys.bias))


def _levels(reader: _Reader, column: WordColumn) -> Blocks:
    """Vectors of the levels of a column, handed out to the rows."""
    found = reader(column.words).cpu().numpy()
    every = torch.from_numpy(found[column.codes])
    centre, scale = every.mean().item(), every.std().item()
    levels = Levels((found - centre) / scale, column.codes)

    def encode(table: pd.DataFrame) -> NDArray[np.float64]:
        known, new, which = column.read(table)
        made = levels.values[known]
        if new:
            made[known < 0] = (reader(new).cpu().numpy()[which] - centre) / scale
            reader.forget()
        return made

    return block("text_levels", [column.column], "vector", encode, levels)


def _tokens(
    setup: Setup, backbone: Backbone, *, adapted: bool = False, projected: bool = False
) -> tuple[Tokens, Plan]:
    """What the model reads of each candidate, and what that needs.

    Raises:
        DataError: a text loses a column, or memory does not suffice.
    """
    problem, model = setup.problem, setup.settings.model
    words = _words(problem, backbone)
    tokens = tokenize(backbone, words, model.max_tokens)
    if words is problem.texts and not model.allow_truncation:
        _refuse_lost_columns(problem, tokens, min(model.max_tokens, backbone.max_tokens))
    parts = {"adapted": adapted, "projected": projected}
    needs = plan(problem.pool, backbone, tokens, setup.settings, **parts)
    needs.check(problem.pool)
    return tokens, needs


def _with_other_columns(problem: Problem, features: Blocks) -> Blocks:
    """What a reaction SMILES does not say (temperatures, times) beside its vector."""
    covered = written_with(problem.reactions or (), problem.pool)
    return beside(problem.pool, features, covered)


def _words(problem: Problem, backbone: Backbone) -> tuple[str, ...]:
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


def _truncation(backbone: Backbone, tokens: Tokens, pool: str, setup: Setup) -> tuple[str, ...]:
    if not tokens.truncated:
        return ()
    max_tokens = setup.settings.model.max_tokens
    longer = " or raise --model.max_tokens" if max_tokens < backbone.max_tokens else ""
    return (
        f"{pool}: {tokens.truncated} of {len(tokens)} distinct texts were cut at "
        f"{min(max_tokens, backbone.max_tokens)} tokens; shorten the template{longer}.",
    )
