"""Answers of a chat model behind an OpenAI-compatible endpoint: with consent, and paid for once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gollum.errors import ModelError
from gollum.language.remote.embed import estimate
from gollum.language.remote.endpoint import ApiKey, Endpoint
from gollum.language.remote.server import (
    PassingError,
    Question,
    RefusedError,
    Server,
    new_client,
)
from gollum.language.remote.store import Store

LARGEST = 2**18  # bytes of an answer
LONGEST = 4000  # tokens of one


@dataclass(frozen=True)
class Prompt:
    """What a chat model is asked.

    Attributes:
        system: what it is to be.
        user: what it is to answer.
        check: raises ValueError for a text that is no answer.
    """

    system: str
    user: str
    check: Callable[[str], object]

    def key(self, endpoint: Endpoint) -> bytes:
        """Under which the answer is stored."""
        parts = json.dumps([endpoint.url, endpoint.model, self.system, self.user])
        return hashlib.sha256(parts.encode()).digest()


def chat(
    endpoint: Endpoint,
    prompts: Sequence[Prompt],
    store: Store,
    *,
    confirm: Callable[[str], bool],
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Answers to all prompts: from the store, or else from the endpoint, at temperature 0.

    Args:
        endpoint: the model.
        prompts: what it is asked, one by one.
        store: what was paid for earlier.
        confirm: asked before anything is sent, with a sentence that says what goes where.
        progress: called with (answers, prompts) after each.
        clock: seconds, for the pace of requests.
        sleep: waits for some seconds.

    Returns:
        Texts that pass the prompts' checks.

    Raises:
        ModelError: the user does not agree, there is no key, the endpoint refuses or fails, or
            its answers are none; what has come by then is stored.
        MissingExtraError: the packages for it are not installed.
    """
    known = {prompt.key(endpoint): prompt for prompt in prompts}
    answers = store.answers(known)
    if missing := {key: prompt for key, prompt in known.items() if key not in answers}:
        secret = ApiKey.of(endpoint)
        with new_client(endpoint, secret) as client:
            texts = [f"{prompt.system}\n{prompt.user}" for prompt in missing.values()]
            if not confirm(estimate(endpoint, texts, len(answers)).sentence):
                raise ModelError(f"nothing was sent to {endpoint.host}: it needs your consent.")
            server = Server(endpoint, secret, client, clock, sleep)
            store.keep({})  # says what is wrong with the place before anything is paid for
            for key, prompt in missing.items():
                try:
                    answers[key] = server.ask(_question(prompt))
                except RefusedError as error:
                    raise ModelError(
                        f"{endpoint.host} {error}; {len(answers)} of {len(known)} answers are "
                        "stored, and asking again goes on from there."
                    ) from None
                store.keep({key: answers[key]})
                if progress:
                    progress(len(answers), len(known))
    return [answers[prompt.key(endpoint)] for prompt in prompts]


def _question(prompt: Prompt) -> Question[str]:
    roles = {"system": prompt.system, "user": prompt.user}
    content = {
        "messages": [{"role": role, "content": text} for role, text in roles.items()],
        "temperature": 0,
        "max_tokens": LONGEST,
    }

    def read(answer: bytes) -> str:
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
            prompt.check(text)
        except (LookupError, RecursionError, TypeError, ValueError):
            raise PassingError("answered with something else than it was asked for") from None
        return str(text)

    return Question("chat/completions", content, [prompt.system + prompt.user], LARGEST, read)
