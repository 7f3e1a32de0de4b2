"""A server of the page in a process of its own, and a real browser."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def chromium():
    """Where the browser is; None where there is none."""
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


class Server:
    """`gollum serve` as a user starts it; the token stays when it is started again."""

    def __init__(self, folder):
        self.folder, self.token_file = folder, folder / "token"
        self.process, self.port = None, None

    def start(self):
        port = [] if self.port is None else ["--port", str(self.port)]
        words = ["serve", str(self.folder), "--token-file", str(self.token_file), *port]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gollum.cli", *words],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), line + self.process.stdout.read()
        self.address = line.split()[1]
        self.port = int(self.address.split(":")[2].split("/")[0])
        return self

    @property
    def home(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self):
        return {"authorization": f"Bearer {self.token_file.read_text()}"}

    def kill(self):
        """As when the power fails."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def interrupt(self):
        """Ctrl-C: the exit code, and what was said."""
        os.killpg(self.process.pid, signal.SIGINT)
        said = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(20), said


@contextmanager
def served(folder):
    server = Server(folder).start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def eventually(what, seconds=60):
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")
