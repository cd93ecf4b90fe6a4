"""The body of an answer call: the caller's, as the label, the operator's settings and the model want it.

What a label sets goes in before the body is adapted to its model, so that an effort which the model does not have
becomes the next lower one, or is left out again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cost_router.core.adapting import DROPPED, QUIET, Adapted, adapt
from cost_router.core.catalogue import Model
from cost_router.core.policy import Choice
from cost_router.core.prompt_cache import ADDED, mark
from cost_router.core.request import MAX_TOKENS, Request
from cost_router.core.routing import Routing
from cost_router.core.sessions import SESSION
from cost_router.core.trip import Trip
from cost_router.core.words import Label

NEVER: Final = "off"  # of `Model.thinking`
DISABLED: Final = "disabled"  # of `thinking.type`


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
        own: dict[str, object] = {"effort": self.effort}
        if self.max_tokens and answers_at_once(body, model):
            found["max_tokens"] = own["max_tokens"] = self.max_tokens
            if "thinking" not in body and model.thinking != NEVER:
                found["thinking"], own["thinking"] = {"type": DISABLED}, DISABLED
        adapted = adapt(found, model, version)
        told = {name: f"{name}={value}" for name, value in own.items() if value}
        told |= {change.partition("=")[0]: change for change in adapted.changes}
        if self.effort and told["effort"] == f"effort={DROPPED}":  # what the caller never asked for is not missed
            del told["effort"]
        return Adapted(adapted.body, tuple(told.values()))


def answers_at_once(body: Mapping[str, Any], model: Model) -> bool:
    """Whether all of `max_tokens` is for the answer: thinking counts to it, and might leave nothing.

    It is so where the model never thinks or the caller wants it quiet; and where the model thinks by default but need
    not, and the caller says nothing of it: then it is asked not to. An effort that the caller wants says something.
    """
    thinking, config = body.get("thinking"), body.get("output_config")
    if thinking is not None:
        return isinstance(thinking, Mapping) and thinking.get("type") in QUIET
    wants_effort = isinstance(config, Mapping) and config.get("effort") is not None
    return model.thinking == NEVER or (DISABLED in model.thinking_types and not wants_effort)


def shaped(trip: Trip, choice: Choice, label: Label | None) -> Adapted:
    """The body for the chosen model. A model that the caller named exactly gets the body as it came.

    label: None where it is not known (yet); then nothing depends on it.
    """
    request, model = trip.request, choice.model
    named = request.body.get("model")
    if named == model.id or named in model.aliases:
        return Adapted(request.body)
    shape = shape_of(request, trip.plan.routing, label)
    if choice.cause == SESSION:  # it stays for what is warm there, and Claude may keep caches apart by effort
        shape = replace(shape, effort=None)
    adapted = shape.fitted(request.body, model, request.headers.get("anthropic-version"))
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

    Whether it is depends on the model, too: `answers_at_once`.
    """
    most = routing.max_tokens.get(label)
    return most if most is not None and most < request.max_tokens and request.wants(MAX_TOKENS) else None
