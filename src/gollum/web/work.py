"""What the process of a job does; it says what it is at, and its result, through a pipe."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from gollum.api import Campaign
from gollum.errors import GollumError
from gollum.listener import Listener

HEAVY = ("gollum.web.work", "gollum.campaign.planning", "gollum.campaign.insights",
         "gollum.campaign.predicting", "gollum.report.campaign.page")  # fmt: skip


class Teller(Listener):
    """Says through a pipe what happens; where nobody reads it any more, the work ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def stage(self, words: str) -> None:
        """Say that something begins."""
        self._pipe.send(("stage", words))

    def advanced(self, done: int, total: int) -> None:
        """Say how far it is."""
        self._pipe.send(("advanced", (done, total)))

    def noted(self, notes: Sequence[str]) -> None:
        """Say what the user should know."""
        self._pipe.send(("noted", [str(note) for note in notes]))


def apart(
    path: str, verb: str, options: Mapping[str, Any], by: str, expected: str | None,
    pipe: Connection,
) -> None:  # fmt: skip
    """Do it in a process of its own, which ends when the server says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(path, verb, options, by, expected, pipe)


def work(
    path: str, verb: str, options: Mapping[str, Any], by: str, expected: str | None,
    pipe: Connection,
) -> None:  # fmt: skip
    """Do one thing with the campaign in a file, for somebody who knows a version of it."""
    try:
        campaign = Campaign(path).signed(by)
        campaign = campaign if expected is None else campaign.at(expected)
        pipe.send(("done", VERBS[verb](campaign, Teller(pipe), **options)))
    except BrokenPipeError:
        return
    except GollumError as error:
        pipe.send(("failed", str(error)))
    except Exception:
        traceback.print_exc()
        what = "This failed by a defect of the program; where it was started stands what happened."
        pipe.send(("failed", what))


def _suggest(campaign: Campaign, listener: Listener, **options: Any) -> list[str]:
    """The runs of the batch."""
    from gollum.campaign.sheets import sheet_names

    sheet = campaign.suggest(**options, listener=listener)
    runs: list[str] = sheet[sheet_names(campaign.state()).run].tolist()
    return runs


def _insights(campaign: Campaign, listener: Listener) -> dict[str, Any]:
    """What was learned, as a piece of a page, and from which event on it is out of date."""
    from gollum.web.learned import learned

    learned_from, found = campaign.state().learned, campaign.insights(listener)
    told: dict[str, Any] = {}
    if found is not None:
        told = {
            "advice": f"{found.advice.sentence} {found.advice.outlook}".strip(),
            "decision": found.advice.decision,
            "trust": found.trust.sentences,
            "effects": found.learned[0].effects.to_dict("records"),
            "weights": found.learned[0].weights,
        }
    return {"learned": learned_from, "html": learned(campaign, found), "told": told}


def _predictions(campaign: Campaign, listener: Listener) -> dict[str, Any]:
    """What is predicted of all candidates, likewise."""
    learned_from = campaign.state().learned
    return {"learned": learned_from, "table": campaign.predictions(listener)}


def _report(campaign: Campaign, listener: Listener) -> str:
    """The report, as a page of its own."""
    return campaign.page(listener)


def _replay(
    campaign: Campaign, listener: Listener, batch: int | None = None
) -> list[dict[str, Any]]:
    """What came out again, by batch."""
    from gollum.report.campaign.status import judgement

    return [
        {"batch": one.batch, "agrees": one.agrees, "words": judgement(one)}
        for one in campaign.replay(batch, listener)
    ]


VERBS: dict[str, Callable[..., Any]] = {
    "suggest": _suggest, "insights": _insights, "predictions": _predictions, "report": _report,
    "replay": _replay,
}  # fmt: skip
