import gc
import gzip
import hashlib
import http.server
import json
import logging
import math
import os
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from gollum import __version__
from gollum.errors import MissingExtraError, ModelError
from gollum.language.remote import Endpoint, Store, embed_remote, estimate, store_path

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

KEY = "sk-test-0123456789-abcdefghij"
WIDTH = 4
PATIENCE = 60  # seconds that a process may take
MEMORY = "/dev/shm"  # noqa: S108 (in it, each test has a folder with a random name)
TEXTS = [f"solvent {i} at {20 + i} °C" for i in range(10)]
FAR = "https://api.example.com/v1"

posix = pytest.mark.skipif(os.name == "nt", reason="calls of POSIX")


def vector_of(text, width=WIDTH):
    """What the server makes of a text: exact in float32 and in JSON."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return [(byte - 128) / 64 for byte in digest[:width]]


def matrix(texts):
    return np.array([vector_of(text) for text in texts])


def items(texts, width=WIDTH):
    return [{"index": i, "embedding": vector_of(text, width)} for i, text in enumerate(texts)]


# What a server may do with a request: a function of its handler and the texts.


def send(handler, status, body, headers=(), reason=None):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status, reason)
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def good(handler, texts):
    send(handler, 200, {"data": items(texts)})


def shuffled(handler, texts):
    send(handler, 200, {"data": items(texts)[::-1]})


def of_width(width):
    return lambda handler, texts: send(handler, 200, {"data": items(texts, width)})


def status(code, body=b"busy", headers=(), reason=None):
    return lambda handler, texts: send(handler, code, body, headers, reason)


def broken_off(handler, texts):
    """The connection ends in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


def without_a_word(handler, texts):
    handler.close_connection = True


def half_json(handler, texts):
    content = json.dumps({"data": items(texts)}).encode()
    send(handler, 200, content[: len(content) // 2])


def silent(handler, texts):
    handler.server.released.wait(PATIENCE)
    handler.close_connection = True


def a_while(handler, texts):
    time.sleep(0.02)
    good(handler, texts)


def at_most(count, refusal):
    return lambda handler, texts: (good if len(texts) <= count else refusal)(handler, texts)


def answering(change):
    """The items of a good answer, changed."""

    def answer(handler, texts):
        made = items(texts)
        send(handler, 200, {"data": made if (new := change(made)) is None else new})

    return answer


def with_vector(vector):
    return answering(lambda made: made[-1].update(embedding=vector))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    disable_nagle_algorithm = True  # it delays answers by 40 ms

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), content))
            plan = self.server.plan
            behave = plan.pop(0) if plan else self.server.usual
        with suppress(BrokenPipeError, ConnectionResetError):
            behave(self, content["input"])

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Does what is planned, request by request, then the usual; remembers what was asked."""

    daemon_threads = False  # its end waits for them

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.usual = [], good
        self.requests = []
        self.lock, self.released = threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_):
        pass

    @property
    def batches(self):
        return [content["input"] for _, _, content in self.requests]

    @property
    def counts(self):
        return Counter(text for batch in self.batches for text in batch)


@pytest.fixture
def server():
    with Server() as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening
        listening.released.set()
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def addresses(monkeypatch):
    """Where connections go; nowhere but to this machine."""
    seen = set()
    connect = socket.socket.connect

    def recording(self, address):
        seen.add(address[:2])
        assert address[0] == "127.0.0.1", f"a connection to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recording)
    yield seen
    assert {host for host, _ in seen} <= {"127.0.0.1"}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("GOLLUM_CACHE", "OPENAI_API_KEY", *(f"{p}_PROXY" for p in ("HTTPS", "ALL"))):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)  # slow
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody may use it
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("GOLLUM_API_KEY", KEY)


@pytest.fixture
def store():
    """In memory where there is a file system for it, as each test waits for the disk often."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        yield Store(Path(folder, "paid", "embeddings.sqlite"))


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def fetch(server, store):
    """Embeds texts with consent and without waiting; `fetch.time.slept` are the waits."""

    def call(texts=TEXTS, *, confirm=lambda _: True, progress=None, **options):
        endpoint = Endpoint(**{"url": server.url, "model": "m", "batch": 4} | options)
        waiting = {"clock": call.time.clock, "sleep": call.time.sleep}
        return embed_remote(endpoint, texts, store, confirm=confirm, progress=progress, **waiting)

    call.time = Time()
    return call


def forbidden(_):
    raise AssertionError("asked for consent")


def failure(call, *args, **options):
    """The message of the error, which is one sentence."""
    with pytest.raises(ModelError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


# Requests and what comes back


def test_requests_carry_what_they_must_and_nothing_else(fetch, server, addresses):
    fetch(["a", "b"])
    (path, headers, content), *others = server.requests
    assert not others
    assert path == "/v1/embeddings"
    assert content == {"model": "m", "input": ["a", "b"], "encoding_format": "float"}
    assert headers.pop("Authorization") == f"Bearer {KEY}"
    assert headers.pop("User-Agent") == f"gollum/{__version__}"
    assert headers.pop("Content-Type") == "application/json"
    assert headers.pop("Host") == f"127.0.0.1:{server.server_port}"
    assert set(headers) == {"Accept", "Accept-Encoding", "Connection", "Content-Length"}
    fetch(["a"], dimensions=WIDTH)
    assert server.requests[1][2] == {**content, "input": ["a"], "dimensions": WIDTH}
    assert addresses == {("127.0.0.1", server.server_port)}


@pytest.mark.parametrize("answer", [good, shuffled])
def test_each_distinct_text_is_sent_once_and_gets_its_own_vector(fetch, server, answer):
    server.usual = answer
    texts = [*TEXTS, TEXTS[3], TEXTS[0], "", "lone \ud800"]
    vectors = fetch(texts)
    assert vectors.dtype == np.float64
    np.testing.assert_array_equal(vectors, matrix(texts))
    assert set(server.counts.values()) == {1}
    assert [len(batch) for batch in server.batches] == [4, 4, 4]


def test_what_is_in_the_store_is_neither_sent_nor_asked_about(fetch, server, monkeypatch):
    first = fetch(TEXTS[:6])
    monkeypatch.delenv("GOLLUM_API_KEY")
    monkeypatch.setitem(sys.modules, "httpx2", None)
    again = fetch(TEXTS[5:0:-1], confirm=forbidden)
    np.testing.assert_array_equal(again, first[5:0:-1])
    assert len(server.requests) == 2


def test_only_what_is_missing_is_sent_and_progress_counts_distinct_texts(fetch, server):
    fetch(TEXTS[:4])
    server.requests.clear()
    seen = []
    vectors = fetch([*TEXTS, *TEXTS], progress=lambda *numbers: seen.append(numbers))
    np.testing.assert_array_equal(vectors, matrix([*TEXTS, *TEXTS]))
    assert server.counts == Counter(TEXTS[4:])
    assert seen == [(8, 10), (10, 10)]


# Consent and estimate


def test_without_consent_nothing_is_sent_and_nothing_written(fetch, store, addresses):
    message = failure(fetch, confirm=lambda _: False)
    assert "nothing was sent" in message
    assert "--remote.confirm true" in message
    assert not addresses
    assert not store.path.parent.exists()


def test_consent_comes_before_the_first_connection(fetch, server, addresses):
    asked = []

    def confirm(sentence):
        assert not addresses
        asked.append(sentence)
        return True

    fetch(price_per_million=0.02, confirm=confirm)
    assert asked == [
        f"10 of 10 texts go to 127.0.0.1:{server.server_port} as model 'm' (about 45 tokens, "
        "less than $0.01), with the key in GOLLUM_API_KEY."
    ]


def test_an_estimate_counts_and_prices_what_is_missing(fetch, server, store, monkeypatch):
    monkeypatch.delenv("GOLLUM_API_KEY")
    texts = [f"{i:04d}" * 91 for i in range(790)]
    fetch(texts[:10], batch=10)
    asked = []

    def refuse(sentence):
        asked.append(sentence)
        return False

    with pytest.raises(ModelError):
        fetch([*texts, *texts[:50]], price_per_million=20, confirm=refuse)
    assert asked == [
        f"780 of 790 texts go to 127.0.0.1:{server.server_port} as model 'm' (about 70,980 tokens, "
        "about $1.42)."
    ]
    made = estimate(Endpoint(server.url, "m", price_per_million=20), texts[10:], 10)
    assert made.cost == pytest.approx(780 * 91 * 20 / 1e6)
    assert estimate(Endpoint(FAR, "m"), texts, 0).cost is None
    assert len(server.requests) == 1


# Failures that pass


@pytest.mark.parametrize(
    "trouble",
    [
        *map(status, (408, 429, 500, 503, 529)),
        broken_off,
        without_a_word,
        half_json,
        status(204, b""),
        status(200, b"\xff\xfe"),
        status(200, b"not gzip", {"Content-Encoding": "gzip"}),
    ],
)
def test_a_failure_that_passes_is_tried_again(fetch, server, trouble):
    server.plan = [good, trouble, trouble]
    np.testing.assert_array_equal(fetch(attempts=3), matrix(TEXTS))
    assert [len(batch) for batch in server.batches] == [4, 4, 4, 4, 2]
    first, second = fetch.time.slept
    assert 1 <= first <= 2 <= second <= 3


def test_silence_is_not_waited_for_and_tried_again(fetch, server):
    server.plan = [silent]
    began = time.monotonic()
    np.testing.assert_array_equal(fetch(timeout=0.2), matrix(TEXTS))
    assert time.monotonic() - began < 4  # the client's own limit is 5
    assert len(server.requests) == 4
    assert len(fetch.time.slept) == 1


@pytest.mark.parametrize(
    ("asked", "waited"), [("7.5", 7.5), ("86400", 60), ("-5", 1), ("nan", 1), ("soon", 1)]
)
def test_a_server_says_how_long_to_wait(fetch, server, asked, waited):
    server.plan = [status(429, b"slow down", {"Retry-After": asked})]
    fetch(TEXTS[:1])
    (slept,) = fetch.time.slept
    assert waited <= slept <= max(waited, 2)


def test_waits_grow_up_to_a_limit(fetch, server):
    server.usual = status(500)
    failure(fetch, attempts=10)
    assert len(fetch.time.slept) == 9
    for wait, least in zip(fetch.time.slept, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert least <= wait <= min(least + 1, 60)
    assert len(set(fetch.time.slept)) > 5  # random


def test_after_the_last_attempt_running_again_goes_on(fetch, server):
    server.plan = [good, *[status(503, b"over\nloaded")] * 3]
    message = failure(fetch, attempts=3)
    assert message == (
        f"127.0.0.1:{server.server_port} did not answer (503: over loaded); 4 of 10 texts are "
        "stored, and running again goes on from there."
    )
    assert server.counts == Counter(TEXTS[:4]) + Counter(TEXTS[4:8] * 3)
    server.requests.clear()
    np.testing.assert_array_equal(fetch(), matrix(TEXTS))
    assert server.counts == Counter(TEXTS[4:])


def test_an_address_where_nobody_answers_is_given_up_at_once(fetch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        message = failure(fetch, url=url)
    assert "can't be reached" in message
    assert "--remote.url" in message
    assert not fetch.time.slept


def test_an_endpoint_that_was_reached_is_given_time_to_come_back(fetch, server, monkeypatch):
    connect, refused = socket.socket.connect, []

    def refusing(self, address):
        if len(server.requests) == 1 and len(refused) < 4:
            refused.append(address)
            raise ConnectionRefusedError
        return connect(self, address)

    def last(handler, texts):
        send(handler, 200, {"data": items(texts)}, {"Connection": "close"})
        handler.close_connection = True

    monkeypatch.setattr(socket.socket, "connect", refusing)
    server.plan = [last]
    np.testing.assert_array_equal(fetch(attempts=5), matrix(TEXTS))
    assert len(refused) == len(fetch.time.slept) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_what_was_paid_for_survives_an_interruption(fetch, server, error):
    def interrupt(done, total):
        if done == 8:
            raise error

    with pytest.raises(error):
        fetch(progress=interrupt)
    np.testing.assert_array_equal(fetch(), matrix(TEXTS))
    assert server.counts == Counter(TEXTS)


# Answers that are wrong


WRONG = {
    "one is missing": answering(lambda made: made[:-1]),
    "one too many": answering(lambda made: [*made, made[0] | {"index": len(made)}]),
    "twice the same number": answering(lambda made: made[-1].update(index=0)),
    "a number out of range": answering(lambda made: made[-1].update(index=len(made))),
    "no number": answering(lambda made: made[-1].pop("index") and None),
    "not an object": answering(lambda made: [[], *made[1:]]),
    "nothing": answering(lambda made: []),
    "no data": status(200, {"error": "no such thing"}),
    "not an answer": status(200, b"null"),
    "lengths that differ": with_vector([1, 2, 3]),
    "NaN": with_vector([1, 2, 3, math.nan]),
    "too large for float32": with_vector([1, 2, 3, -1e300]),
    "an integer too large": with_vector([1, 2, 3, 10**400]),
    "null": with_vector([1, 2, 3, None]),
    "a list too many": with_vector([[1, 2, 3, 4]]),
    "no vector": with_vector(None),
    "no numbers": answering(lambda made: [item | {"embedding": []} for item in made]),
    "a text": with_vector([1, 2, 3, "4"]),
    "texts": answering(lambda made: [item | {"embedding": ["1.5"] * WIDTH} for item in made]),
    "a truth value": with_vector([1, 2, 3, True]),
    "one text": with_vector("1234"),
    "an object": with_vector({"1": 1, "2": 2, "3": 3, "4": 4}),
    "a truth value as the number": answering(lambda made: made[1].update(index=True)),
    "a fraction as the number": answering(lambda made: made[1].update(index=1.0)),
    "numbers alone": answering(lambda made: [item | {"embedding": 1.5} for item in made]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_tried_again_and_never_accepted(fetch, server, wrong):
    server.plan = [good, wrong, wrong]
    message = failure(fetch, TEXTS[:8], attempts=2)
    assert " answered with something else " in message
    assert "; 4 of 8 texts are stored" in message
    assert len(server.requests) == 3
    server.plan = [wrong]
    np.testing.assert_array_equal(fetch(TEXTS[:8]), matrix(TEXTS[:8]))


# Answers without end


def endless(code, piece=b" " * 2**16, pause=0.0, headers=()):
    """A body that goes on until nobody reads it."""

    def answer(handler, texts):
        handler.send_response(code)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.released.is_set():
            handler.wfile.write(piece)
            time.sleep(pause)

    return answer


def endless_header(handler, texts):
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.released.is_set():
        handler.wfile.write(b"x")
        time.sleep(0.05)


def packed(code):
    content = gzip.compress(b" " * 2**24)
    return status(code, content, {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("answer", [endless(200), packed(200)])
def test_an_answer_larger_than_any_vectors_is_refused(fetch, server, monkeypatch, answer):
    monkeypatch.setattr("gollum.language.remote.server.LARGEST_VECTOR", 2**12)
    server.usual = answer
    message = failure(fetch, TEXTS[:4])
    assert "answered with more than 16,384 bytes, so check --remote.url" in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [endless(200, b" ", 0.02), endless_header])
def test_an_answer_that_drips_is_not_waited_for(fetch, server, answer):
    server.usual = answer
    began = time.monotonic()
    message = failure(fetch, timeout=0.1, attempts=2)
    assert time.monotonic() - began < 4
    assert "did not come to the end of its answer; 0 of 10 texts are stored" in message
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [endless(401, b"no "), endless(401, b"no ", 0.02), packed(401)])
def test_a_refusal_without_end_is_cut(fetch, server, answer):
    server.usual = answer
    began = time.monotonic()
    message = failure(fetch, timeout=0.2)
    assert time.monotonic() - began < 4
    assert "refused (401: " in message
    assert len(message) < 600
    assert len(server.requests) == 1


def test_vectors_of_another_length_are_refused_at_once(fetch, server):
    server.plan = [good, of_width(3)]
    assert "length 3 instead of 4" in failure(fetch)
    server.usual = of_width(5)
    assert "length 5 instead of 4" in failure(fetch)
    assert "length 5 instead of 2" in failure(fetch, dimensions=2)
    assert len(server.requests) == 4


def test_stored_vectors_of_several_lengths_are_refused(fetch, server):
    fetch(TEXTS[:4])
    server.usual = of_width(3)  # of the new texts alone, nobody can see that it is another model
    fetch(TEXTS[4:5])
    message = failure(fetch, TEXTS[:5], confirm=forbidden)
    assert "different lengths (3, 4)" in message
    assert failure(fetch) == message
    assert len(server.requests) == 2


# Failures that stay


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(400, {"error": {"message": "no good"}}), 'refused (400: {"error": {"message": "no'),
        (status(401, b""), "refused (401: Unauthorized), so check"),
        (status(403, b"not\x1b[31m here"), "refused (403: not [31m here)"),
        (status(404, b"no model"), "refused (404: no model), so check --remote.url, --remote.mod"),
        (status(418, b"x" * 5000), f"(418: {'x' * 300})"),
    ],
)
def test_a_refusal_is_not_tried_again(fetch, server, answer, said):
    server.plan = [good, answer]
    message = failure(fetch)
    assert said in message
    assert "the key in GOLLUM_API_KEY; 4 of 10 texts are stored" in message
    assert len(server.requests) == 2
    assert not fetch.time.slept


@pytest.mark.parametrize("code", [302, 307, 308])
def test_a_redirect_is_not_followed(fetch, server, code):
    server.plan = [status(code, b"", {"Location": f"{server.url}/elsewhere"})]
    assert f"redirects ({code}: " in failure(fetch)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        status(413, b""),
        status(400, {"error": {"message": "Too many inputs"}}),
        status(422, {"error": "batch size 4 > maximum allowed batch size 1"}),
    ],
)
def test_a_batch_that_is_too_large_is_halved(fetch, server, refusal):
    server.usual = at_most(1, refusal)
    np.testing.assert_array_equal(fetch(TEXTS[:6]), matrix(TEXTS[:6]))
    assert [len(batch) for batch in server.batches] == [4, 2, *[1] * 6]
    assert not fetch.time.slept


def test_a_single_text_that_is_too_large_is_shown(fetch, server):
    def picky(handler, sent):
        large = any(len(text) > 100 for text in sent)
        (status(400, b"maximum context length") if large else good)(handler, sent)

    server.usual = picky
    message = failure(fetch, [*TEXTS[:5], "x" * 1000, *TEXTS[5:]])
    assert f"(400: maximum context length), so shorten the text '{'x' * 40}'…" in message
    assert "5 of 11 texts are stored" in message


# The key


def test_without_a_key_nothing_goes_to_another_machine(store, monkeypatch, addresses):
    monkeypatch.setenv("GOLLUM_API_KEY", "  ")
    message = failure(embed_remote, Endpoint(FAR, "m"), TEXTS, store, confirm=forbidden)
    assert "set the environment variable GOLLUM_API_KEY (or OPENAI_API_KEY)" in message
    assert not addresses


def test_this_machine_needs_no_key(fetch, server, monkeypatch):
    monkeypatch.delenv("GOLLUM_API_KEY")
    fetch(confirm=lambda sentence: "key" not in sentence)
    assert "Authorization" not in server.requests[0][1]
    server.usual = status(401, b"key?")
    assert "(401: key?)" in failure(fetch, ["another"])


def test_the_first_variable_wins(fetch, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-key")
    fetch(["a"])
    monkeypatch.setenv("GOLLUM_API_KEY", " \n")
    fetch(["b"])
    monkeypatch.setenv("GOLLUM_API_KEY", f" {KEY}\n")
    fetch(["c"])
    keys = [headers["Authorization"].split(" ", 1)[1] for _, headers, _ in server.requests]
    assert keys == [KEY, "sk-other-key", KEY]


@pytest.mark.parametrize("key", ["sk-first\nsk-second", "sk-with blank", "sk-µµµµµµµµ"])
def test_a_key_that_is_none_is_refused_without_showing_it(fetch, monkeypatch, key, addresses):
    monkeypatch.setenv("GOLLUM_API_KEY", key)
    message = failure(fetch, confirm=forbidden)
    assert message.startswith("GOLLUM_API_KEY has a blank or a special character")
    assert "sk-" not in message
    assert not addresses


ECHOES = {
    "401": status(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}}),
    "in part": status(403, f"no: {KEY[:9]}*** or ***{KEY[-9:]}".encode()),
    "413": status(413, {"message": f"'{KEY}' sends too much"}),
    "500": status(500, KEY.encode()),
    "not JSON": status(200, f"hello {KEY}".encode()),
    "redirect": status(302, f"to /?key={KEY}".encode()),
    "data": answering(lambda made: made[0].update(embedding=KEY)),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_a_server_sends_back_shows_nowhere(fetch, server, store, caplog, echo):
    caplog.set_level(logging.DEBUG)
    server.plan, server.usual = [good], echo
    with pytest.raises(ModelError) as caught:
        fetch(attempts=2)
    assert server.requests[-1][1]["Authorization"] == f"Bearer {KEY}"
    assert any("response" in record.getMessage() for record in caplog.records)
    shown = [caplog.text, *(str(record.__dict__) for record in caplog.records)]
    shown += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    shown += [file.read_bytes().decode("latin-1") for file in store.path.parent.iterdir()]
    for piece in (KEY, KEY[:9], KEY[-9:]):
        assert not [text for text in shown if piece in text]


def test_the_key_is_hidden_in_what_is_no_body(fetch, server):
    server.usual = status(403, b"", (), f"Forbidden for {KEY}")
    assert "(403: Forbidden for ***)" in failure(fetch)
    server.usual = lambda handler, texts: handler.wfile.write(f"{KEY}\r\n\r\n".encode())
    assert "illegal status line: ***" in failure(fetch)


@pytest.mark.parametrize("key", ["abc", "12345678", "123456789"])
def test_short_keys_are_hidden_too(fetch, server, monkeypatch, key):
    monkeypatch.setenv("GOLLUM_API_KEY", key)
    server.usual = status(403, f"no to '{key}' as a key".encode())
    assert "refused (403: no to *** as a key)" in failure(fetch)


def test_neither_key_nor_texts_are_stored_or_shown(fetch, server, store, caplog):
    caplog.set_level(logging.DEBUG)
    fetch()
    files = [file.read_bytes() for file in store.path.parent.iterdir()]
    endpoint = Endpoint(server.url, "m")
    shown = [caplog.text, repr(endpoint), repr(estimate(endpoint, TEXTS, 0))]
    for secret in (KEY, *TEXTS):
        assert not [text for text in shown if secret in text]
        assert not [content for content in files if secret.encode() in content]


# Addresses


@pytest.mark.parametrize(
    ("url", "kept", "host"),
    [
        (f"{FAR}/", FAR, "api.example.com"),
        (" https://api.example.com:8443\n", "https://api.example.com:8443", "api.example.com:8443"),
        (f"{FAR}/embeddings/", FAR, "api.example.com"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1", "localhost:8000"),
        ("http://127.0.0.1", "http://127.0.0.1", "127.0.0.1"),
        ("http://[::1]:11434/v1", "http://[::1]:11434/v1", "[::1]:11434"),
    ],
)
def test_an_address_is_kept_without_what_may_be_left_out(url, kept, host):
    endpoint = Endpoint(url, "m")
    assert (endpoint.url, endpoint.host) == (kept, host)
    assert endpoint.is_local == url.startswith("http:")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.example.com/v1", "unencrypted"),
        ("http://10.0.0.1/v1", "unencrypted"),
        ("http://localhost.example.com", "unencrypted"),
        ("https://user:pass-word@api.example.com", "the key in GOLLUM_API_KEY"),
        ("https://api.example.com/v1?api_key=pass-word", "the key in GOLLUM_API_KEY"),
        ("https://api.example.com/v1#pass-word", "the key in GOLLUM_API_KEY"),
        ("http://localhost\\@evil.example.com", "the key in GOLLUM_API_KEY"),
        ("http://localhost\\.example.com", "is not an address"),
        ("https://api.exa mple.com", "is not an address"),
        ("https://api.exam\nple.com", "is not an address"),
        ("https://bücher.example", "is not an address"),
        ("https://api..example.com", "is not an address"),
        ("https://api.example.com:port", "is not an address"),
        ("https://api.example.com:0", "is not an address"),
        ("https://api.example.com:65536", "is not an address"),
        ("https://[::1", "is not an address"),
        ("ftp://localhost", "is not an address"),
        ("api.example.com", "is not an address"),
        ("", "is not an address"),
    ],
)
def test_an_address_that_is_unsafe_or_none_is_refused(url, said):
    message = failure(Endpoint, url, "m")
    assert said in message
    assert "pass-word" not in message


def test_keys_and_revisions_differ_where_vectors_may():
    endpoints = [
        Endpoint("https://a.example.com/v1", "m"),
        Endpoint("https://b.example.com/v1", "m"),
        Endpoint("https://a.example.com/v1", "n"),
        Endpoint("https://a.example.com/v1", "m", dimensions=3),
    ]
    keys = {endpoint.key(text) for endpoint in endpoints for text in ("", "a", 'a", "b', "\ud800")}
    assert len(keys) == 16
    assert len({endpoint.revision for endpoint in endpoints}) == 4
    same = Endpoint("https://a.example.com/v1/", "m", batch=3, timeout=2)
    assert same.revision == endpoints[0].revision
    assert same.key("a") == endpoints[0].key("a")


def test_a_proxy_with_a_password_that_can_not_be_used_is_not_shown(store, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:pass-word@127.0.0.1:9")
    message = failure(embed_remote, Endpoint(FAR, "m"), TEXTS, store, confirm=forbidden)
    assert "HTTPS_PROXY" in message
    assert "pass-word" not in message


# Pace


def test_requests_keep_their_distance(fetch, server):
    fetch(requests_per_minute=20)
    assert fetch.time.slept == [3, 3]
    server.plan = [status(500)]
    fetch(["another"], requests_per_minute=1)
    assert sum(fetch.time.slept[2:]) == pytest.approx(60)


def test_tokens_keep_requests_apart(fetch):
    texts = [f"{i:08d}" for i in range(12)]  # 2 tokens each, as estimated
    fetch(texts, tokens_per_minute=16, requests_per_minute=1000)
    assert fetch.time.slept == [30, 30]


# The store


def change(store, command, *values):
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute(command, values).rowcount > 0
        connection.commit()


def test_the_default_place_is_not_in_a_cache(tmp_path, monkeypatch):
    assert Store().path == store_path() == tmp_path / "share" / "gollum" / "embeddings.sqlite"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME")
    assert store_path() == tmp_path / ".local" / "share" / "gollum" / "embeddings.sqlite"
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    assert store_path() == tmp_path / "cache" / "embeddings.sqlite"


@posix
def test_only_the_owner_may_read_the_store(fetch, store):
    mask = os.umask(0o022)
    try:
        fetch()
    finally:
        os.umask(mask)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_vectors_are_kept_as_little_endian_float32(store):
    store.put({b"key": np.array([1, -2.5], ">f4")})
    with closing(sqlite3.connect(store.path)) as connection:
        (row,) = connection.execute("SELECT key, vector FROM vectors")
    assert row == (b"key", bytes.fromhex("0000803f000020c0"))
    kept = store.read([b"key", b"other"])
    assert kept.keys() == {b"key"}
    np.testing.assert_array_equal(kept[b"key"], [1, -2.5])


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE vectors SET vector = zeroblob(16)",
        "UPDATE vectors SET vector = substr(vector, 1, 12)",
        "UPDATE vectors SET vector = 'text'",
        "UPDATE vectors SET vector = NULL",
        "UPDATE vectors SET sha256 = NULL",
        "DELETE FROM vectors",
    ],
)
def test_a_damaged_row_is_fetched_again(fetch, server, store, command):
    fetch(TEXTS[:1])
    change(store, command)
    np.testing.assert_array_equal(fetch(TEXTS[:1]), matrix(TEXTS[:1]))
    np.testing.assert_array_equal(fetch(TEXTS[:1], confirm=forbidden), matrix(TEXTS[:1]))
    assert server.counts == {TEXTS[0]: 2}


def test_vectors_that_were_swapped_are_fetched_again(fetch, server, store):
    fetch(TEXTS[:2])
    with closing(sqlite3.connect(store.path)) as connection:
        (a, *x), (b, *y) = connection.execute("SELECT key, vector, sha256 FROM vectors")
    for key, other in ((a, y), (b, x)):
        change(store, "UPDATE vectors SET vector = ?, sha256 = ? WHERE key = ?", *other, key)
    np.testing.assert_array_equal(fetch(TEXTS[:2]), matrix(TEXTS[:2]))
    assert server.counts == {TEXTS[0]: 2, TEXTS[1]: 2}


@pytest.mark.parametrize("damage", ["no database", "cut", "pages", "other tables", "folder"])
def test_a_file_that_is_no_store_is_named_and_left_alone(fetch, store, addresses, damage):
    store.path.parent.mkdir()
    if damage == "folder":
        store.path.mkdir()
    elif damage == "no database":
        store.path.write_bytes(b"notes of a chemist\n" * 1000)
    elif damage == "other tables":
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("CREATE TABLE vectors (something TEXT)")
    else:
        store.put({bytes([i]): np.ones(3000, "f") for i in range(9)})
        content = store.path.read_bytes()
        half = content[: len(content) // 2]
        store.path.write_bytes(half if damage == "cut" else content[:4096] + 2 * half)
    before = store.path.is_dir() or store.path.read_bytes()
    message = failure(fetch, confirm=forbidden)
    assert message.startswith(f"'{store.path}', where what was paid for is kept, can't be used (")
    assert "if it is damaged, move it away" in message
    assert (store.path.is_dir() or store.path.read_bytes()) == before
    assert not addresses


def test_nothing_is_paid_for_that_can_not_be_kept(fetch, store, addresses):
    store.path.parent.write_text("a file where the folder should be")
    assert f"'{store.path}'" in failure(fetch)
    assert not addresses


def test_nothing_is_paid_for_while_the_store_is_locked(fetch, store, addresses, monkeypatch):
    monkeypatch.setattr("gollum.language.remote.store.BUSY", 0.01)
    store.put({})
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "can't be used (database is locked)" in failure(fetch)
    assert not addresses


def test_nothing_more_is_sent_when_the_store_fails(fetch, server, store):
    store.put({})
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON vectors WHEN (SELECT count(*) FROM vectors) = 6 "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    assert "disk is full" in failure(fetch)
    assert len(server.requests) == 2
    endpoint = Endpoint(server.url, "m")
    assert len(store.read([endpoint.key(text) for text in TEXTS])) == 4  # a batch or nothing of it


# Several at once


CHILD = """
import sys
from pathlib import Path
from gollum.language.remote import Endpoint, Store, embed_remote
assert not {"httpx2", "tenacity", "torch", "transformers"} & set(sys.modules)
url, path, first, last = sys.argv[1:]
texts = [f"text {i}" for i in range(int(first), int(last))]
vectors = embed_remote(Endpoint(url, "m", batch=4), texts, Store(Path(path)),
                       confirm=lambda sentence: True)
print(vectors.sum())
"""


@pytest.fixture
def child(server, store):
    """Starts processes that embed some texts, and ends them."""
    started = []

    def start(first, last):
        command = [sys.executable, "-c", CHILD, server.url, str(store.path), str(first), str(last)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@posix
def test_a_killed_process_has_kept_what_it_paid_for(child, server, fetch):
    texts = [f"text {i}" for i in range(14)]
    server.plan = [good, good, silent]
    process = child(0, 14)
    end = time.monotonic() + PATIENCE
    while len(server.requests) < 3:
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    np.testing.assert_array_equal(fetch(texts), matrix(texts))
    assert server.counts == Counter(texts) + Counter(texts[8:12])
    assert not fetch.time.slept  # the dead have no turn


def test_processes_at_once_pay_for_each_text_once(child, server):
    server.usual = a_while
    ranges = [(0, 60), (0, 60), (30, 90)]
    processes = [child(*each) for each in ranges]
    for process, (first, last) in zip(processes, ranges, strict=True):
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert float(output) == matrix([f"text {i}" for i in range(first, last)]).sum()
    assert server.counts == Counter(f"text {i}" for i in range(90))


def test_a_process_that_never_ends_is_not_waited_for_forever(fetch, server, store):
    with store.turn(Endpoint(server.url, "m").revision, time.sleep):
        assert "another process has been asking the same model for 60 minutes" in failure(fetch)
        assert sum(fetch.time.slept) == 3600
        fetch(model="other")  # which need not wait
    assert len(server.requests) == 3
    np.testing.assert_array_equal(fetch(), matrix(TEXTS))


# What must be installed, and what must be closed


@pytest.mark.parametrize("package", ["httpx2", "tenacity"])
def test_a_missing_package_is_named_before_anything_is_asked(fetch, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="pip install httpx2 tenacity"):
        fetch(confirm=forbidden)


def test_connections_and_files_are_closed(fetch, server):
    server.plan = [good, status(500), status(403)]
    failure(fetch)
    fetch()
    gc.collect()  # an unclosed one would be a warning, which is an error
