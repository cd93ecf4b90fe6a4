"""What the tests hold in their hands: a client of the stand-in, its clock and its ids."""

from collections import Counter
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

KEY = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
LABEL_SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["simple", "moderate", "complex"]}},
    "required": ["label"],
    "additionalProperties": False,
}


class Desk:
    """A client with a key, a clock that stands still, numbered ids, and waits that are only noted."""

    client: TestClient

    def __init__(self) -> None:
        self.now = 1_795_000_000.0
        self.slept: list[float] = []
        self._made: Counter[str] = Counter()

    def clock(self) -> float:
        return self.now

    def ids(self, prefix: str) -> str:
        self._made[prefix] += 1
        return f"{prefix}_{self._made[prefix]}"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def post(self, body: object, path: str = "/v1/messages", **headers: str) -> Response:
        return self.client.post(path, json=body, headers=KEY | {k.replace("_", "-"): v for k, v in headers.items()})

    def script(self, **fields: Any) -> dict[str, Any]:
        answer = self.client.post("/_script", json=fields)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def meter(self) -> list[dict[str, Any]]:
        return list(self.client.get("/_meter").json()["calls"])

    def refusal(self, body: object, path: str = "/v1/messages", **headers: str) -> tuple[int, str, str]:
        """Status, error type and message of a call that is refused."""
        answer = self.post(body, path, **headers)
        error = answer.json()["error"]
        return answer.status_code, error["type"], error["message"]


def classify(text: str) -> dict[str, Any]:
    """A classifier call on `text`, as a router would make it."""
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 64,
        "thinking": {"type": "disabled"},
        "system": "Label the request. complex: legal risk analysis, proofs. simple: sentiment, intent.",
        "messages": [{"role": "user", "content": text}],
        "output_config": {"format": {"type": "json_schema", "schema": LABEL_SCHEMA}},
    }
