"""The interface for robots and notebooks: the verbs of a campaign as JSON and CSV."""

from fastapi import APIRouter

from gollum.web.rest import changing, reading, working

ROOT = "/api/v1"

router = APIRouter(prefix=ROOT)
for part in (reading, changing, working):
    router.include_router(part.router)
