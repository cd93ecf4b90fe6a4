"""The body of an answer call: the caller's, as the label, the operator's settings and the model want it.

What a label sets goes in before the body is adapted to its model, so that an effort which the model does not have
becomes the next lower one, or is left out again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cost_router.core.adapting import DROPPED, QUIET, Adapted, adapt
from cost_router.core.catalogue import Model
from cost_router.core.policy import Choice
from cost_router.core.prompt_cache import ADDED, mark
from cost_router.core.request import MAX_TOKENS, Request
from cost_router.core.routing import Routing
from cost_router.core.trip import Trip
from cost_router.core.words import Label


@dataclass(frozen=True, slots=True)
class Shape:
    """What a label sets in a body; None where it sets nothing."""

    effort: str | None = None
    max_tokens: int | None = None

    def fitted(self, body: Mapping[str, Any], model: Model, version: str | None = None) -> Adapted:
        """The body as the label and the model want it; version: the caller's `anthropic-version`."""
        found = dict(body)
        if self.effort:
            found["output_config"] = {**(body.get("output_config") or {}), "effort": self.effort}
        if self.max_tokens:
            found["max_tokens"] = self.max_tokens
        adapted = adapt(found, model, version)
        own = {"effort": self.effort, "max_tokens": self.max_tokens}
        told = {name: f"{name}={value}" for name, value in own.items() if value}
        told |= {change.partition("=")[0]: change for change in adapted.changes}
        if self.effort and told["effort"] == f"effort={DROPPED}":  # what the caller never asked for is not missed
            del told["effort"]
        return Adapted(adapted.body, tuple(told.values()))


def shaped(trip: Trip, choice: Choice, label: Label | None) -> Adapted:
    """The body for the chosen model. A model that the caller named exactly gets the body as it came.

    label: None where it is not known (yet); then nothing depends on it.
    """
    request, model = trip.request, choice.model
    named = request.body.get("model")
    if named == model.id or named in model.aliases:
        return Adapted(request.body)
    adapted = shape_of(request, trip.plan.routing, label).fitted(
        request.body, model, request.headers.get("anthropic-version")
    )
    marks = trip.warmth.marks.get(model.id)
    marked = mark(adapted.body, marks) if marks else adapted.body
    added = (ADDED,) if marked is not adapted.body else ()
    return Adapted(marked, (*adapted.changes, *added))


def shape_of(request: Request, routing: Routing, label: Label | None) -> Shape:
    """What the operator's settings set in the body of a request with that label."""
    return Shape(_effort(request, routing, label), _most_tokens(request, routing, label)) if label else Shape()


def _effort(request: Request, routing: Routing, label: Label) -> str | None:
    """The effort of the label's rung, unless the caller asks for one."""
    config = request.body.get("output_config")
    asked = config is not None and (not isinstance(config, Mapping) or config.get("effort") is not None)
    return None if asked else routing.rung(label).effort


def _most_tokens(request: Request, routing: Routing, label: Label) -> int | None:
    """The label's ceiling on `max_tokens`, where the caller allows it.

    Not where the caller asks for thinking, which counts to `max_tokens`: nothing might be left for the answer.
    """
    most, thinking = routing.max_tokens.get(label), request.body.get("thinking")
    thinks = thinking is not None and not (isinstance(thinking, Mapping) and thinking.get("type") in QUIET)
    lowers = most is not None and most < request.max_tokens and request.wants(MAX_TOKENS)
    return most if lowers and not thinks else None
