"""Requests to an endpoint: paced, made again where that makes sense, and answers checked."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gollum import __version__
from gollum.errors import MissingExtraError, ModelError
from gollum.language.remote.endpoint import KEY_VARIABLES, ApiKey, Endpoint

if TYPE_CHECKING:  # optional packages
    import httpx2
    import tenacity

Answer = TypeVar("Answer")

CHARACTERS_PER_TOKEN = 4  # roughly, of English; SMILES have fewer
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever a server asks for
LARGEST_ANSWER, LARGEST_VECTOR, LARGEST_REFUSAL = 2**27, 2**18, 2**16  # bytes
TIMEOUTS = 2  # how often the timeout may pass until an answer has come to its end
_TRANSIENT = (408, 409, 425, 429)  # and all from 500 on
_TOO_MUCH = re.compile(r"too (many|much|large|long|big)|maximum|exceed|at most|batch size", re.I)


class RefusedError(Exception):
    """Why a request brought nothing, in words that don't show the key."""


class PassingError(RefusedError):
    """The same request may work later, after so many seconds if the server says so."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class TooMuchError(RefusedError):
    """The same with fewer texts may work."""


def tokens(texts: Sequence[str]) -> int:
    """About how many tokens texts have."""
    return math.ceil(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)


def new_client(endpoint: Endpoint, key: ApiKey) -> httpx2.Client:
    """A client that follows no redirect; http stays on this machine, so it takes no proxy.

    Raises:
        ModelError: the environment names a proxy or certificates that can't be used.
        MissingExtraError: the packages for it are not installed.
    """
    try:
        import httpx2
        import tenacity  # noqa: F401 (only whether it is there)
    except ImportError:
        raise MissingExtraError("a remote model", "remote") from None
    agent = {"User-Agent": f"gollum/{__version__}", "Content-Type": "application/json"}
    try:
        return httpx2.Client(
            headers=agent | key.headers,
            timeout=endpoint.timeout,
            trust_env=endpoint.url.startswith("https:"),
            follow_redirects=False,
        )
    except (ImportError, OSError, ValueError, httpx2.InvalidURL):
        raise ModelError(  # without its words, which may show the password of a proxy
            "the proxy or the certificates that the environment names (HTTPS_PROXY, ALL_PROXY, "
            "SSL_CERT_FILE) can't be used; check these variables."
        ) from None


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """What an endpoint is asked.

    Attributes:
        path: below its address.
        content: of the request.
        texts: in it, by which it is paced.
        largest: bytes of a good answer.
        read: takes a good answer apart; raises RefusedError or PassingError where it is none.
    """

    path: str
    content: Mapping[str, Any]
    texts: Sequence[str]
    largest: int
    read: Callable[[bytes], Answer]


class Server:
    """Asks an endpoint, not faster than allowed and as often as it makes sense."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: ApiKey,
        client: httpx2.Client,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.endpoint = endpoint
        self._key, self._client = key, client
        self._clock, self._sleep = clock, sleep
        self._next = -math.inf  # when the next request may begin
        self._was_reached = False

    def vectors(self, texts: Sequence[str], width: int | None) -> NDArray[np.float32]:
        """Those of b texts, b x h; h is the width, unless that is None.

        Raises:
            RefusedError: there are none, however often it was tried.
        """
        length = self.endpoint.dimensions
        wish = {} if length is None else {"dimensions": length}
        content = {"input": texts, "encoding_format": "float"} | wish
        largest = min(len(texts) * LARGEST_VECTOR, LARGEST_ANSWER)
        return self.ask(
            Question(
                "embeddings", content, texts, largest, lambda c: _vectors(c, len(texts), width)
            )
        )

    def ask(self, question: Question[Answer]) -> Answer:
        """What it answers.

        Raises:
            RefusedError: nothing that is an answer, however often it was tried.
        """
        import tenacity

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PassingError),
            stop=tenacity.stop_after_attempt(self.endpoint.attempts),
            wait=_seconds_to_wait,
            sleep=self._sleep,
            reraise=True,
        )
        found: Answer = attempts(self._attempt, question)
        return found

    def _attempt(self, question: Question[Answer]) -> Answer:
        import httpx2

        self._pace(question.texts)
        try:
            answer, content = _within(
                (TIMEOUTS + 1) * self.endpoint.timeout, lambda: self._answer(question)
            )
        except httpx2.RequestError as error:
            said = self._key.hide(str(error) or type(error).__name__)
            if isinstance(error, httpx2.ConnectError) and not self._was_reached:
                raise RefusedError(
                    f"can't be reached ({said}), so check {self.endpoint.options[0]}"
                ) from None
            raise PassingError(f"did not answer ({said})") from None
        self._was_reached = True
        if not answer.is_success:
            raise self._refusal(answer, content, question.texts)
        return question.read(content)

    def _answer(self, question: Question[Any]) -> tuple[httpx2.Response, bytes]:
        """What a server answers, and its content; of a refusal, as much as comes in time.

        Raises:
            RefusedError: it is larger than any answer to this question.
            PassingError: it does not end.
            httpx2.RequestError: there is none.
        """
        url = f"{self.endpoint.url}/{question.path}"
        # ASCII: any text can be written, lone surrogates too.
        body = json.dumps({"model": self.endpoint.model, **question.content})
        deadline = time.monotonic() + TIMEOUTS * self.endpoint.timeout
        content = bytearray()
        with self._client.stream("POST", url, content=body) as answer:
            good = answer.is_success
            largest = question.largest if good else LARGEST_REFUSAL
            for chunk in answer.iter_bytes():
                content += chunk
                is_late = time.monotonic() > deadline
                if (is_late or len(content) > largest) and not good:
                    break
                if is_late:
                    raise PassingError("did not come to the end of its answer")
                if len(content) > largest:
                    raise RefusedError(
                        f"answered with more than {largest:,} bytes, so check "
                        f"{self.endpoint.options[0]}, or set a smaller --remote.batch"
                    )
        return answer, bytes(content[:largest])

    def _pace(self, texts: Sequence[str]) -> None:
        """Wait until a request may begin, and put the next one off."""
        if (delay := self._next - self._clock()) > 0:
            self._sleep(delay)
        minutes = max(
            1 / (self.endpoint.requests_per_minute or math.inf),
            tokens(texts) / (self.endpoint.tokens_per_minute or math.inf),
        )
        self._next = self._clock() + 60 * minutes

    def _refusal(
        self, answer: httpx2.Response, content: bytes, texts: Sequence[str]
    ) -> RefusedError:
        status, text = answer.status_code, content.decode(answer.encoding or "utf-8", "replace")
        said = f"{status}: {self._key.hide(text or answer.reason_phrase)[:300]}"
        if status == 413 or (status in (400, 422) and _TOO_MUCH.search(said)):
            return TooMuchError(f"refused ({said}), so shorten the text {texts[0][:40]!r}…")
        if status in _TRANSIENT or status >= 500:
            wait = _retry_after(answer.headers.get("retry-after", ""))
            return PassingError(f"did not answer ({said})", wait)
        verb = "redirects" if answer.is_redirect else "refused"
        return RefusedError(
            f"{verb} ({said}), so check {', '.join(self.endpoint.options)} and the key in "
            f"{self._key.variable or KEY_VARIABLES[0]}"
        )


def _seconds_to_wait(state: tenacity.RetryCallState) -> float:
    """What the server asked for, but at least 1, 2, 4, … and a random part of a second."""
    import tenacity

    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, PassingError) else 0.0
    return max(asked, tenacity.wait_exponential_jitter(max=LONGEST_WAIT)(state))


def _retry_after(text: str) -> float:
    """Seconds that a server asks to wait, at most LONGEST_WAIT; 0 if it is not a number."""
    try:
        return min(max(0.0, float(text)), LONGEST_WAIT)
    except ValueError:
        return 0.0


def _within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """What a call returns or raises; it is not waited for any longer, and goes on unheard.

    Raises:
        PassingError: it takes too long.
    """
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    wait([outcome], seconds)
    if not outcome.done():
        raise PassingError("did not come to the end of its answer")
    return outcome.result()


def _vectors(content: bytes, count: int, width: int | None) -> NDArray[np.float32]:
    """Those in a good answer, in the order of the texts, whatever the order there.

    Raises:
        RefusedError: they have another length.
        PassingError: there is something else in it.
    """
    garbled = PassingError("answered with something else than one vector for each text")
    try:
        items = sorted(json.loads(content)["data"], key=lambda item: item["index"])
        numbers = [item["index"] for item in items]
        embeddings = [item["embedding"] for item in items]
        kinds = {type(number) for one in embeddings for number in one}
        with np.errstate(over="ignore"):  # it becomes infinite
            vectors = np.array(embeddings, float).astype(np.float32)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        raise garbled from None
    is_matrix = vectors.ndim == 2 and vectors.size and np.isfinite(vectors).all()
    # Texts and truth values count as numbers to NumPy, and the latter to Python.
    are_numbers = kinds <= {int, float} and {type(number) for number in numbers} == {int}
    if not (is_matrix and are_numbers and numbers == list(range(count))):
        raise garbled
    if width and vectors.shape[1] != width:
        raise RefusedError(
            f"answered with vectors of length {vectors.shape[1]} instead of {width}, so check "
            "--remote.dimensions, and whether it still has the same model"
        )
    return vectors
