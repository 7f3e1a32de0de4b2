"""The way in: the token of the printed address or a password, exchanged for a cookie."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gollum.web.keys import LASTS
from gollum.web.pages.common import Form, Shown, text

router = APIRouter(include_in_schema=False)


@router.get("/enter")
def enter(request: Request, token: str = "") -> Response:
    """Take the token of the printed address, or show the form for the password."""
    keys = request.state.keys
    if token and not keys.hashed:
        return _answer(request, lambda: keys.is_token(token), "That address is of an earlier "
                       "start; use the one that was printed last.")  # fmt: skip
    return _form(request)


@router.post("/enter")
def log_in(request: Request, form: Form) -> Response:
    """Take a password, or the token typed by hand where there is none."""
    keys, given = request.state.keys, text(form, "password", 1024)
    who = text(form, "who", 80) if keys.personal else ""

    def right() -> bool:
        known: bool = keys.is_password(given, who) if keys.hashed else keys.is_token(given)
        return known

    return _answer(request, right, "That is not right; try again.", who)


@router.post("/leave")
def leave(request: Request) -> Response:
    """Forget the cookie."""
    answer = RedirectResponse("/enter", 303)
    answer.delete_cookie(request.state.house.cookie)
    return answer


def _answer(request: Request, right: Callable[[], bool], otherwise: str, who: str = "") -> Response:
    """Let somebody in who is right; nothing is computed for those who tried too often."""
    tries, house = request.state.tries, request.state.house
    address = request.client.host if request.client else ""
    if tries.too_many(address):
        return _form(request, 429, "Too many attempts; wait a minute.")
    if not right():
        tries.failed(address)
        return _form(request, 403, otherwise, who)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        house.cookie, request.state.keys.session(who), max_age=LASTS, httponly=True,
        samesite="strict", secure=house.secure,
    )  # fmt: skip
    return answer


def _form(request: Request, status: int = 200, wrong: str = "", who: str = "") -> Response:
    shown: Shown = request.app.state.shown
    keys = request.state.keys
    return shown.page(
        request, "enter.html", status=status, what="password" if keys.hashed else "token",
        personal=keys.personal, name=who, wrong=wrong,
    )  # fmt: skip
