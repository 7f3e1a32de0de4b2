"""Texts to vectors through an endpoint: first the estimate, then consent, then batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gollum.errors import ModelError
from gollum.language.remote.endpoint import ApiKey, Endpoint, key_variable
from gollum.language.remote.server import RefusedError, Server, TooMuchError, new_client, tokens
from gollum.language.remote.store import Store

if TYPE_CHECKING:  # it brings all of transformers
    from gollum.language.embed import Progress


@dataclass(frozen=True)
class Estimate:
    """What would be sent, and what it would cost.

    Attributes:
        host: where it would go.
        model: what the endpoint calls the model.
        texts: number of distinct texts that would be sent.
        here: number of distinct texts whose vectors are in the store.
        tokens: about how many would be paid for.
        cost: about how many dollars that is, if the price is known.
        key_variable: environment variable whose key would go along; empty for none.
    """

    host: str
    model: str
    texts: int
    here: int
    tokens: int
    cost: float | None
    key_variable: str

    @property
    def sentence(self) -> str:
        """What goes where, for people."""
        key = f", with the key in {self.key_variable}" if self.key_variable else ""
        cost = ""
        if self.cost is not None:
            cost = ", less than $0.01" if self.cost < 0.01 else f", about ${self.cost:,.2f}"
        return (
            f"{self.texts:,} of {self.texts + self.here:,} texts go to {self.host} as model "
            f"'{self.model}' (about {self.tokens:,} tokens{cost}){key}."
        )


def estimate(endpoint: Endpoint, missing: Sequence[str], here: int) -> Estimate:
    """What it means to send the `missing` texts when `here` others are in the store."""
    price, count = endpoint.price_per_million, tokens(missing)
    cost = None if price is None else count * price / 1e6
    return Estimate(endpoint.host, endpoint.model, len(missing), here, count, cost, key_variable())


def embed_remote(
    endpoint: Endpoint,
    texts: Sequence[str],
    store: Store,
    *,
    confirm: Callable[[str], bool],
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> NDArray[np.float64]:
    """Vectors of all texts: from the store, or else from the endpoint, each distinct text once.

    Every batch is stored when it has come, so that a run that was stopped in any way goes on
    there. Of several processes that want vectors of the same model, one asks at a time and the
    others wait for it, so that nothing is paid for twice and the pace is kept by all together.

    Args:
        endpoint: the model.
        texts: the N texts.
        store: what was paid for earlier.
        confirm: asked before anything is sent, with a sentence that says what goes where; not
            asked where the store has it all.
        progress: called with (distinct texts done, distinct texts in all) after each batch.
        clock: seconds, for the pace of requests.
        sleep: waits for some seconds.

    Returns:
        N x h.

    Raises:
        ModelError: the user does not agree, there is no key, the endpoint refuses or fails, or
            the store can't be used; what has come by then is stored.
        MissingExtraError: the packages for it are not installed.
    """
    distinct = {endpoint.key(text): text for text in texts}
    vectors = store.read(distinct)
    if missing := [text for key, text in distinct.items() if key not in vectors]:
        key = ApiKey.of(endpoint)
        with new_client(endpoint, key) as client:
            if not confirm(estimate(endpoint, missing, len(vectors)).sentence):
                raise ModelError(
                    f"nothing was sent to {endpoint.host}: it needs your consent, which "
                    "--remote.confirm true gives."
                )
            server = Server(endpoint, key, client, clock, sleep)
            with store.turn(endpoint.revision, sleep):
                vectors = _fetched(server, store, distinct, progress)
    _width(endpoint, vectors)
    return np.stack([vectors[endpoint.key(text)] for text in texts], dtype=np.float64)


def _fetched(
    server: Server, store: Store, distinct: Mapping[bytes, str], progress: Progress | None
) -> dict[bytes, NDArray[np.float32]]:
    """Vectors of all texts; those that were not in the store are then there.

    Raises:
        ModelError: why some did not come.
    """
    endpoint = server.endpoint
    vectors = store.read(distinct)  # again: another process may have fetched some
    width = _width(endpoint, vectors)
    missing = [key for key in distinct if key not in vectors]
    size = endpoint.batch
    while missing:
        batch = missing[:size]
        try:
            rows = server.vectors([distinct[key] for key in batch], width)
        except RefusedError as error:
            if isinstance(error, TooMuchError) and len(batch) > 1:
                size = len(batch) // 2
                continue
            raise ModelError(
                f"{endpoint.host} {error}; {len(vectors):,} of {len(distinct):,} texts are stored, "
                "and running again goes on from there."
            ) from None
        new = dict(zip(batch, rows, strict=True))
        store.put(new)
        vectors |= new
        width = rows.shape[1]
        del missing[: len(batch)]
        if progress:
            progress(len(vectors), len(distinct))
    return vectors


def _width(endpoint: Endpoint, vectors: Mapping[bytes, NDArray[np.float32]]) -> int | None:
    """Length that all vectors have; None where that is not known yet.

    Raises:
        ModelError: they differ.
    """
    lengths = {len(vector) for vector in vectors.values()}
    if len(lengths) > 1:
        raise ModelError(
            f"stored vectors of model '{endpoint.model}' have different lengths "
            f"({', '.join(map(str, sorted(lengths)))}), so the model behind {endpoint.host} was "
            "changed; set --remote.dimensions, or set GOLLUM_CACHE to another folder."
        )
    return next(iter(lengths), endpoint.dimensions)
