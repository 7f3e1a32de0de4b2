"""What a model has learned, as a piece of a page; made where the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gollum.api import Campaign
from gollum.report.campaign.page import content, filters
from gollum.web.pages.common import templates

PARTS = ("insights", "views", "promising", "columns", "front_sought")  # of the report

if TYPE_CHECKING:
    from gollum.campaign.insights import Insights


def learned(campaign: Campaign, insights: Insights | None) -> str:
    """Trust, effects, weights and what is left to gain; '' where there is no model yet."""
    if insights is None:
        return ""
    state = campaign.state()
    environment = templates()
    environment.filters |= filters(state)
    about = content(state, (), insights, PARTS)
    return environment.get_template("learned.html").render(about)
