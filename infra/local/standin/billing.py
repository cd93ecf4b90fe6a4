"""What a metered call costs, by token type: genai-prices' reading of the usage and genai-prices' prices.

The stand-in is the referee of the ledger, so it prices nothing with the code that it judges.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

# The report's name of a token type -> where `usage` counts it, and genai-prices' name of its price.
TOKEN_TYPES: Final = {
    "uncached_input_tokens": (("input_tokens",), "input_mtok"),
    "cache_read_input_tokens": (("cache_read_input_tokens",), "cache_read_mtok"),
    "cache_creation.ephemeral_5m_input_tokens": (("cache_creation", "ephemeral_5m_input_tokens"), "cache_write_mtok"),
    "cache_creation.ephemeral_1h_input_tokens": (
        ("cache_creation", "ephemeral_1h_input_tokens"),
        "cache_write_1h_mtok",
    ),
    "output_tokens": (("output_tokens",), "output_mtok"),
}
CONTEXTS: Final = {"realtime": {}, "batch": {"processing": "batch"}}
SEARCHES: Final = "web_search"  # what is no token's price
SEARCH_USD: Final = Decimal("0.01")  # $10 per 1,000; platform.claude.com/docs/en/about-claude/pricing
IN_THE_US: Final = Decimal("1.1")  # on token prices; the same page. genai-prices knows no geography


def counts(usage: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by token type."""
    return {name: _at(usage, path) for name, (path, _) in TOKEN_TYPES.items()}


def costs(call: Mapping[str, Any]) -> dict[str, Decimal]:
    """US dollars of one call of the meter by token type, and for its searches, if any.

    Raises `ValueError` when they are not the whole price.
    """
    from genai_prices import extract_usage  # noqa: PLC0415  0.7 s, only for a stand-in that is asked for costs
    from genai_prices.types import ModelPrice  # noqa: PLC0415  the same

    usage = call["usage"]
    extracted = extract_usage({"model": call["model"], "usage": dict(usage)}, provider_id="anthropic")
    at = dt.datetime.fromisoformat(call["at"])
    fast = {"speed": "fast"} if usage.get("speed") == "fast" else {}
    context: Any = CONTEXTS[call["processing"]] | fast or None
    priced = extracted.calc_price(genai_request_timestamp=at, price_context=context)
    prices = {name: value for name, value in vars(priced.model_price).items() if value is not None}
    found = {}
    for token_type, (_, kept) in TOKEN_TYPES.items():
        alone = ModelPrice(**{name: value if name == kept else Decimal(0) for name, value in prices.items()})
        found[token_type] = alone.calc_price(extracted.usage)["total_price"]
    searches = _at(usage, ("server_tool_use", "web_search_requests")) * SEARCH_USD
    if sum(found.values()) + searches != priced.total_price:
        raise ValueError(f"{call['model']}: {found} and ${searches} do not add up to {priced.total_price}")
    place = IN_THE_US if usage.get("inference_geo") == "us" else 1
    return {name: usd * place for name, usd in found.items()} | ({SEARCHES: searches} if searches else {})


def _at(usage: Mapping[str, Any], path: tuple[str, ...]) -> int:
    value: Any = usage
    for name in path:
        value = (value or {}).get(name)
    return int(value or 0)
