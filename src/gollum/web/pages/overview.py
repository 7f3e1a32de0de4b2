"""All campaigns of the folder; what pages poll; drawings of structures."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from gollum.campaign.advice import best
from gollum.data.molecules import can_read
from gollum.errors import UserError
from gollum.report.campaign.status import counts, wanted, written_like
from gollum.web.folder import Folder, Snapshot
from gollum.web.jobs import Jobs
from gollum.web.pages.common import (
    VERBS,
    Form,
    Here,
    Shown,
    home,
    shown_jobs,
    stamp,
    text,
    to,
)

MOST = 500  # campaigns that are described; the others are named
LONGEST = 400  # characters of a SMILES that is drawn
DRAWN = 2000  # structures that are remembered
_SIZE = (170, 110)  # pixels

router = APIRouter(include_in_schema=False)


@router.get("/")
def overview(request: Request) -> Response:
    """The campaigns, or the one that is served alone."""
    folder: Folder = request.app.state.folder
    if folder.alone:
        return RedirectResponse(home(folder.alone.stem), 303)
    shown: Shown = request.app.state.shown
    names = folder.names()
    return shown.page(
        request, "overview.html", rows=[_row(folder, name) for name in names[:MOST]],
        more=names[MOST:], folder=folder.path.resolve().name,
    )  # fmt: skip


def _row(folder: Folder, name: str) -> dict[str, Any]:
    """A campaign in a few words; one that can't be read says why."""
    try:
        found: dict[str, Any] = folder.brief(name, in_words)
        return {"name": name, "home": home(name), "wrong": ""} | found
    except UserError as error:
        return {"name": name, "home": "", "wrong": str(error)}


def in_words(snapshot: Snapshot) -> dict[str, Any]:
    """What a campaign is after and how far it is."""
    state, found = snapshot.state, best(snapshot.state)
    values = state.measured()["mean"]
    value = "" if found is None else written_like(values)(found.value)
    return {
        "goal": wanted(state),
        "counts": counts(state),
        "best": value,
        "objective": state.created.objective,
        "time": snapshot.log[-1].time[:16].replace("T", " "),
    }


@router.get("/c/{name}/live")
def live(request: Request, name: str) -> dict[str, str]:
    """Whether anything has changed, and the work that goes on."""
    jobs: Jobs = request.app.state.jobs
    version = request.app.state.folder.version(name)
    template = request.app.state.shown.environment.get_template("jobs.html")
    words = template.render(
        jobs=shown_jobs(jobs, name), verbs=VERBS, home=home(name),
        csrf=request.state.keys.csrf(request.state.cookie),
    )  # fmt: skip
    return {"stamp": stamp(jobs, name, version), "version": version, "jobs": words}


@router.post("/c/{name}/jobs/{job}/stop")
def stop(request: Request, here: Here, job: str, form: Form) -> Response:
    """End a piece of work."""
    jobs: Jobs = request.app.state.jobs
    found = jobs.find(job)
    if found is None or found.campaign != here.name:
        raise HTTPException(404)
    jobs.stop(found)
    start, back = home(here.name), text(form, "back")
    return to(request, back if back.startswith(f"{start}/") else start, good="Stopped.")


@router.get("/structure.svg")
def structure(smiles: str) -> Response:
    """A molecule as a picture."""
    picture = drawn(smiles) if can_read() and len(smiles) <= LONGEST else None
    if picture is None:
        raise HTTPException(404)
    headers = {"cache-control": "private, max-age=86400"}
    return Response(picture, media_type="image/svg+xml", headers=headers)


@lru_cache(DRAWN)
def drawn(smiles: str) -> str | None:
    """RDKit's drawing of a SMILES as SVG; None of what is no molecule."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdCoordGen
    from rdkit.Chem.Draw import rdMolDraw2D

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            return None
        if molecule.GetNumAtoms():
            rdCoordGen.AddCoords(molecule)  # rings of phosphines apart
        canvas: Any = rdMolDraw2D.MolDraw2DSVG(*_SIZE)
        canvas.drawOptions().clearBackground = False
        rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule)
        canvas.FinishDrawing()
    text: str = canvas.GetDrawingText()
    return text
