"""The stand-in's meter and script, and what its calls cost by an independent referee: genai-prices itself."""

import datetime as dt
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import httpx2
from genai_prices import extract_usage

TLS: Final = ssl.create_default_context()  # not used on loopback; making one for each call costs more than the call


@dataclass(frozen=True)
class Meter:
    url: str

    def reset(self) -> None:
        httpx2.post(f"{self.url}/_reset", verify=TLS).raise_for_status()

    def script(self, **script: Any) -> None:
        answer = httpx2.post(f"{self.url}/_script", json=script, verify=TLS)
        assert answer.status_code == 200, answer.text

    def calls(self, purpose: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx2.get(f"{self.url}/_meter", verify=TLS).json()["calls"]
        return [call for call in found if purpose in {None, call["purpose"]}]

    def requests(self) -> list[dict[str, Any]]:
        found = httpx2.get(f"{self.url}/_requests", verify=TLS).json()
        rows: list[dict[str, Any]] = found["requests"] if isinstance(found, dict) else found
        return [row for row in rows if row["path"] == "/v1/messages"]


US: Final = Decimal("1.1")  # on tokens, not on searches: genai-prices knows no geography


def price(call: Mapping[str, Any]) -> Decimal:
    """Dollars for one metered call, by genai-prices: its own reading of the usage, its own prices, batch or not."""
    usage = call["usage"]
    extracted = extract_usage({"model": call["model"], "usage": usage}, provider_id="anthropic")
    context: dict[str, Any] = {"processing": "batch"} if call["processing"] == "batch" else {}
    context |= {"speed": "fast"} if usage.get("speed") == "fast" else {}
    now = dt.datetime.now(dt.UTC)
    found = extracted.calc_price(genai_request_timestamp=now, price_context=context or None).total_price
    searches = (usage.get("server_tool_use") or {}).get("web_search_requests", 0) * Decimal("0.01")
    return (found - searches) * US + searches if usage.get("inference_geo") == "us" else found


def poll(ready: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """The first truthy value of `ready`; fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = ready()
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what} within {seconds:.0f} s"
        time.sleep(0.05)
