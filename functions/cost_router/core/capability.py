"""Which models cannot take a request, and what a model would reject in its body."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cost_router.core.ask import Ask
from cost_router.core.catalogue import Model
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.terms import FAST, read_terms

# Fields that change the bill in ways not priced here yet. Refusing them by name is better than a wrong figure.
UNPRICED_FIELDS: Final = (
    "container",
    "billing_policy",
    "compaction",  # its tokens are not in the top-level usage
    "fallbacks",  # another model would answer, at another price
    "fallback_credit_token",
    "mcp_servers",  # the API samples as often as their tools are called, each time with `max_tokens`: no upper bound
)
COMPACTION: Final = "compact_"  # the edit of `context_management` that calls a model of its own


def unable(models: Iterable[Model], ask: Ask, max_tokens: int) -> dict[str, str]:
    """Model id -> name of the capability rule it breaks, for the models that cannot take the request."""
    found = {}
    for model in models:
        rule = _broken_rule(model, ask, max_tokens)
        if rule:
            found[model.id] = rule
    return found


def _broken_rule(model: Model, ask: Ask, max_tokens: int) -> str | None:
    broken = {
        "context-window": ask.estimated_tokens(model.tokenizer) > model.context_window,
        "output-limit": max_tokens > model.max_output_tokens,
        "speed": ask.terms.speed == FAST and not any(row.speed == FAST for row in model.prices),
        "inference-geo": ask.terms.inference_geo is not None and not model.geographies,
        "prefill": ask.prefilled and not model.prefill,
        "images": ask.images > 0 and not model.images,
        "documents": ask.documents > 0 and not model.pdf,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), None)


def check_output_limit(models: Iterable[Model], max_tokens: int) -> None:
    """Raise `InvalidRequest` when no model writes that much, in the words of the API."""
    largest = max(models, key=lambda model: model.max_output_tokens)
    if max_tokens > largest.max_output_tokens:
        raise InvalidRequest(
            f"max_tokens: {quoted(max_tokens)} > {largest.max_output_tokens}, "
            f"which is the maximum allowed number of output tokens for {largest.id}"
        )


def check_billing_fields(body: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for a field that changes the bill in a way that is not priced here."""
    for name in UNPRICED_FIELDS:
        if body.get(name) is not None:
            raise InvalidRequest(
                f"{name}: it changes the price of the call, which is not priced here yet; accepted: leave it out"
            )
    _check_context_management(body.get("context_management"))
    read_terms(body)


def _check_context_management(value: object) -> None:
    edits = value.get("edits") if isinstance(value, Mapping) else None
    for place, edit in enumerate(edits if isinstance(edits, list) else ()):
        if isinstance(edit, Mapping) and str(edit.get("type")).startswith(COMPACTION):
            raise InvalidRequest(
                f"context_management.edits.{place}.type: compaction is billed apart, which is not priced here yet; "
                "accepted: edits that clear tool uses or thinking"
            )


def adapt(body: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The body for `model`: its name, without what it would reject; order and everything else as the client sent it.

    A missing `model` is put first. `thinking: disabled` is dropped for models that always think (a 400 otherwise).
    """
    adapted = dict(body) if "model" in body else {"model": model.id, **body}
    adapted["model"] = model.id
    thinking = body.get("thinking")
    if model.thinking == "always_on" and isinstance(thinking, Mapping) and thinking.get("type") == "disabled":
        del adapted["thinking"]
    return adapted
