"""A robot that asks the lab's page what to do, and tells it, whatever goes wrong.

Start `gollum serve FOLDER --token-file token`, begin a campaign there, and run
`python examples/robot_http.py http://127.0.0.1:8765 NAME token`. Replace `react` by your robot.
"""

import json
import random
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

PATIENCE = (1, 2, 4, 8, 16, 30)  # seconds before a request is sent again


class LostError(Exception):
    """There is nothing at an address, such as a job that a server forgot when it ended."""


def call(address: str, token: str, body: dict | None = None, key: str = "") -> dict:
    """Ask or tell; what was not answered is sent again, and with a key is done only once."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    headers |= {"Idempotency-Key": key} if key else {}
    data = None if body is None else json.dumps(body).encode()
    for pause in (*PATIENCE, None):
        try:
            with urlopen(Request(address, data, headers), timeout=90) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            if error.code < 500 or pause is None:  # it was understood and refused
                why = f"{address}: {json.load(error)['error']}"
                raise (LostError(why) if error.code == 404 else SystemExit(why)) from None
        except (URLError, HTTPException, TimeoutError, ConnectionError):  # cut off, or away
            if pause is None:
                raise
        time.sleep(pause or 0)
    raise AssertionError("the last attempt ends in an answer or an error")


def react(row: dict) -> float | None:
    """What came of an experiment; None where it failed."""
    dice = random.Random(str(row["id"]))  # noqa: S311 (a simulation)
    return None if dice.random() < 0.1 else round(100 * dice.random(), 1)


def chosen(server: str, home: str, token: str, size: int) -> list[dict]:
    """What to do next; a job that was lost with its server is asked for again."""
    while True:
        job = call(f"{home}/suggest?wait=30", token, {"n": size})
        try:
            while job["status"] in ("waiting", "running"):
                time.sleep(1)
                job = call(f"{server}/api/v1/jobs/{job['id']}", token)
        except LostError:
            continue
        if job["status"] != "done":
            raise SystemExit(job["error"] or "It was stopped.")
        return job["result"]


def main(server: str, name: str, token: str, rounds: int = 3, size: int = 4) -> None:
    """Do some rounds; results come late and in another order than they were asked for."""
    home = f"{server}/api/v1/campaigns/{quote(name)}"
    objective = call(home, token)["objective"]
    for _ in range(rounds):
        rows = chosen(server, home, token, size)
        for row in sorted(rows, key=lambda _: random.random()):  # noqa: S311
            value = react(row)
            told = {
                "run": row["run"],
                objective: value,
                "status": "failed" if value is None else "",
            }
            print(call(f"{home}/record", token, {"rows": [told]}, key=row["run"])["words"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text().strip())
