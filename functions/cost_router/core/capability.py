"""Which models cannot take a request, and which fields no price is known for."""

from collections.abc import Container, Iterable, Mapping
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
PRICED: Final = frozenset({"speed", "inference-geo"})  # rules without which a call has no price
COMPACTION: Final = "compact_"  # the edit of `context_management` that calls a model of its own


def unable(models: Iterable[Model], ask: Ask, named: Model | None = None) -> dict[str, str]:
    """Model id -> name of the capability rule it breaks, for the models that cannot take the request.

    named: the model that the caller named exactly. Only rules that its price depends on are applied to it: what else it
    does not take, Claude says better (clients act on its words: they shorten a prompt, or leave a field out).
    """
    found = {}
    for model in models:
        rule = _broken_rule(model, ask, PRICED if model == named else None)
        if rule:
            found[model.id] = rule
    return found


def _broken_rule(model: Model, ask: Ask, only: Container[str] | None) -> str | None:
    broken = {
        "context-window": ask.estimated_tokens(model.tokenizer) > model.context_window,
        "speed": ask.terms.speed == FAST and not any(row.speed == FAST for row in model.prices),
        "inference-geo": ask.terms.inference_geo is not None and not model.geographies,
        "forced-tool-choice": ask.forces_tool and not model.forced_tool_choice,
        "prefill": ask.prefilled and not model.prefill,
        "images": ask.images > 0 and not model.images,
        "documents": ask.documents > 0 and not model.pdf,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken and (only is None or rule in only)), None)


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
