"""The body of an answer call: the caller's, as the label, the operator's settings and the model want it."""

from collections.abc import Iterator
from typing import Any

from cost_router.core.adapting import Adapted, adapt
from cost_router.core.policy import Choice
from cost_router.core.request import MAX_TOKENS
from cost_router.core.trip import Trip
from cost_router.core.words import Label


def shaped(trip: Trip, choice: Choice, label: Label | None) -> Adapted:
    """The body for the chosen model. A model that the caller named exactly gets the body as it came.

    label: None where it is not known (yet); then nothing depends on it.
    """
    request, model = trip.request, choice.model
    named = request.body.get("model")
    if named == model.id or named in model.aliases:
        return Adapted(request.body)
    body = dict(request.body)
    changes = [*_effort(body, trip, label), *_most_tokens(body, trip, label)] if label else []
    adapted = adapt(body, model, request.headers.get("anthropic-version"))
    return Adapted(adapted.body, (*changes, *adapted.changes))


def _effort(body: dict[str, Any], trip: Trip, label: Label) -> Iterator[str]:
    """The effort of the label's rung, unless the caller asks for one."""
    effort, config = trip.plan.routing.rung(label).effort, body.get("output_config")
    if effort is None or not isinstance(config, dict | None) or (config or {}).get("effort") is not None:
        return
    body["output_config"] = {**(config or {}), "effort": effort}
    yield f"effort={effort}"


def _most_tokens(body: dict[str, Any], trip: Trip, label: Label) -> Iterator[str]:
    """The label's ceiling on `max_tokens`, where the caller allows it."""
    most, thinking = trip.plan.routing.max_tokens.get(label), body.get("thinking")
    if most is None or most >= trip.request.max_tokens or not trip.request.wants(MAX_TOKENS):
        return
    if isinstance(thinking, dict) and thinking.get("budget_tokens") is not None:  # it has to be below `max_tokens`
        return
    body["max_tokens"] = most
    yield f"max_tokens={most}"
