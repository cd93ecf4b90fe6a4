"""Feedback posted to the deployed API, seen in `cost-router report` and in the metrics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from infra.local.stack import LocalStack
from tests.integration.commands import command
from tests.integration.meter import Meter, poll
from tests.integration.test_streams import ask

Unique = Callable[[str], str]


def test_feedback_is_joined_with_its_request_and_shows_in_the_report(
    client: anthropic.Anthropic, stack: LocalStack, folder: Path, meter: Meter, unique: Unique
) -> None:
    shop = unique("shop").replace(" ", "-").replace("(", "").replace(")", "")

    def rate(score: object, label: str, **fields: Any) -> dict[str, Any]:
        body = ask(unique(f"[[label:{label}]] Hi"), **fields)
        message = client.messages.create(**body, extra_headers={"x-router-tags": f"shop={shop}"})
        said = {"request_id": message._request_id, "score": score, "comment": "a canary sings"}
        return client.post("/v1/feedback", body=said, cast_to=dict[str, Any])

    given = [rate(1, "simple"), rate("0.25", "moderate"), rate(0.5, "simple", model="sonnet")]
    assert [row["label"] for row in given] == ["simple", "moderate", None]
    assert [row["model"] for row in given][1:] == ["claude-sonnet-5-5"] * 2
    again = {"request_id": given[0]["request_id"], "score": 0.75}
    found = client.post("/v1/feedback", body=again, cast_to=dict[str, Any])
    assert (found["cost_usd"], found["score"]) == (given[0]["cost_usd"], "0.75"), "the last one wins"
    with pytest.raises(anthropic.NotFoundError):
        client.post("/v1/feedback", body={**again, "request_id": "req_never"}, cast_to=dict[str, Any])

    told = json.loads(command("report", "--by", "tag:shop", "--json", cwd=folder))["feedback"]
    assert {row["key"]: row for row in told["rows"]}[shop] == {"key": shop, "requests": 3, "mean_score": "0.500"}
    printed = command("report", "--by", "label", cwd=folder)
    assert "Feedback by label" in printed
    assert "canary" not in printed

    def seen() -> list[str]:
        return [line for line in list(stack.bridge.lines) if "RoutingQuality" in line and "_aws" in line]

    assert poll(seen, "metric of a rating")
    assert not any("a canary sings" in line for line in stack.bridge.lines)
