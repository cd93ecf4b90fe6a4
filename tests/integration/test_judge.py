"""`cost-router judge` as a user runs it: samples of the bucket, both steps through the batch lane, what it costs."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.local.stack import LocalStack
from infra.operate.report import read_entries
from tests.integration.commands import command
from tests.integration.meter import Meter
from tests.integration.test_batch_lane import round_of

Unique = Callable[[str], str]
SONNET, OPUS = "claude-sonnet-5-5", "claude-opus-5-5"


def keep(stack: LocalStack, number: int, tier: str, text: str) -> None:
    """A sample as the router keeps it."""
    id_, day = f"req_judged{number:018d}", dt.datetime.now(dt.UTC).date().isoformat()
    sample = {
        "id": id_,
        "at": f"{day}T00:00:00.000+00:00",
        "tenant": "demo",
        "tags": {},
        "params": {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": text}]},
        "answer": {"content": [{"type": "text", "text": "the routed answer"}]},
        "routed": {"label": "simple", "cause": "classifier", "tier": tier, "model": "m", "cost_usd": "0.0001"},
    }
    stack.emulator.client("s3").put_object(
        Bucket=stack.description["results_bucket"], Key=f"samples/{day}/{id_}.json", Body=json.dumps(sample).encode()
    )


def test_routed_answers_are_judged_at_batch_price_and_booked_as_judging(
    stack: LocalStack, meter: Meter, unique: Unique, folder: Path
) -> None:
    for number, tier in enumerate(("haiku", "sonnet", "opus")):
        keep(stack, number, tier, unique("Judge this"))
    over = threading.Event()

    def rounds() -> None:
        while not over.wait(1):
            round_of(stack)

    thread = threading.Thread(target=rounds)
    thread.start()
    try:
        made = json.loads(command("judge", "judge-all", "--n", "5", "--json", cwd=folder))
    finally:
        over.set()
        thread.join()
    assert (made["judged"], made["undecided"], made["simulated"]) == (2, 0, True)
    assert sum(made["outcomes"].values()) == 2
    calls = meter.calls("answer")
    assert sorted((call["model"], call["processing"]) for call in calls) == [(OPUS, "batch"), *[(SONNET, "batch")] * 5]
    booked = [entry for entry in read_entries(stack.target, dt.datetime.now(dt.UTC).date()) if _judges(entry)]
    assert len(booked) == 6
    assert {entry["baseline_usd"] for entry in booked} == {Decimal(0)}
    assert sum(entry["cost_usd"] for entry in booked) == Decimal(made["cost_usd"]) > 0
    again = command("judge", "judge-all", cwd=folder)
    assert "Claude is simulated" in again
    assert "as good as the next tier up, or better" in again
    assert len(meter.calls("answer")) == 6, "what was judged is not paid for again"


def _judges(entry: dict[str, Any]) -> bool:
    return entry["purpose"] == "judge" and str(entry.get("job", "")).startswith("judge-all-")


def test_a_wrong_lane_and_a_wrong_folder_are_told(folder: Path) -> None:
    assert "accepted: batch, direct" in command("judge", "--lane", "slow", cwd=folder, expect=1)
    assert "accepted: a name matching" in command("judge", "a b", cwd=folder, expect=1)
