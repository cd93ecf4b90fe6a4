"""The committed catalogue says what genai-prices says, to the last digit."""

import datetime as dt
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from infra.catalogue import build
from infra.catalogue.findings import CATALOGUE as CATALOGUE_FILE
from infra.catalogue.findings import LINEUPS as LINEUPS_FILE

CATALOGUE: dict[str, Any] = json.loads(CATALOGUE_FILE.read_text(encoding="utf-8"))
LINEUPS: dict[str, dict[str, str]] = json.loads(LINEUPS_FILE.read_text(encoding="utf-8"))
BEFORE_AND_AFTER = (dt.date(2026, 3, 12), dt.date(2026, 3, 13), dt.date(2026, 10, 13), dt.date(2026, 10, 14))
TODAY = dt.date(2026, 11, 24)
BUCKETS = ("input", "cache_read", "cache_write_5m", "cache_write_1h")
PROMPTS = (1, 99_999, 100_000, 100_001, 200_000, 200_001)


def cost(model: str, on: dt.date, processing: str, tokens: dict[str, int]) -> Decimal | None:
    """The catalogue's price of a call, worked out as its rows are documented; None without a row in force."""
    rows = [
        row
        for row in CATALOGUE["models"][model]["prices"]
        if (row["processing"], row["speed"]) == (processing, "standard")
    ]
    days = [row["from"] for row in rows if row["from"] <= on.isoformat()]
    if not days:
        return None
    prompt = sum(tokens[bucket] for bucket in BUCKETS)
    steps = [row for row in rows if row["from"] == max(days)]
    row = max((row for row in steps if row["over_prompt_tokens"] < max(prompt, 1)), key=_over)
    return sum((Decimal(row[name]) * count for name, count in tokens.items()), Decimal(0)) / 1_000_000


def _over(row: dict[str, Any]) -> int:
    return int(row["over_prompt_tokens"])


def genai_cost(model: str, on: dt.date, processing: str, tokens: dict[str, int]) -> Decimal:
    """What genai-prices itself makes of it: its counts include their parts."""
    written = tokens["cache_write_5m"] + tokens["cache_write_1h"]
    usage = Usage(
        input_tokens=tokens["input"] + tokens["cache_read"] + written,
        cache_read_tokens=tokens["cache_read"],
        cache_write_tokens=written,
        cache_write_1h_tokens=tokens["cache_write_1h"],
        output_tokens=tokens["output"],
    )
    at = dt.datetime.combine(on, dt.time(23, 59), dt.UTC)
    context = {"processing": "batch"} if processing == "batch" else None
    price = calc_price(usage, model, provider_id="anthropic", genai_request_timestamp=at, price_context=context)
    return price.total_price


@pytest.mark.parametrize("model", CATALOGUE["models"])
def test_rows_price_every_bucket_as_genai_prices_does_around_each_day_and_step(model: str) -> None:
    compared = 0
    for on, processing, bucket, prompt in itertools.product(BEFORE_AND_AFTER, ("realtime", "batch"), BUCKETS, PROMPTS):
        tokens = {**dict.fromkeys(BUCKETS, 0), bucket: prompt, "output": 777}
        ours = cost(model, on, processing, tokens)
        if ours is not None:
            assert ours == genai_cost(model, on, processing, tokens), (on, processing, tokens)
            compared += 1
    assert compared == (4 + 1) * 4 * 6  # realtime on all days, batch from its first day on


@pytest.mark.parametrize("model", CATALOGUE["models"])
def test_the_step_counts_all_buckets_of_the_prompt_together(model: str) -> None:
    below = {"input": 25_000, "cache_read": 25_000, "cache_write_5m": 25_000, "cache_write_1h": 25_000, "output": 10}
    above = {**below, "cache_read": 25_001}
    for tokens in (below, above):
        assert cost(model, dt.date(2026, 11, 1), "realtime", tokens) == genai_cost(
            model, dt.date(2026, 11, 1), "realtime", tokens
        )


def test_known_prices_stand_in_the_file() -> None:
    hundred_k = {"input": 100_000, "cache_read": 0, "cache_write_5m": 0, "cache_write_1h": 0, "output": 1_000}
    day = dt.date(2026, 11, 1)
    assert cost("claude-haiku-5-5", day, "realtime", hundred_k) == Decimal("0.0105")
    assert cost("claude-haiku-5-5", day, "realtime", hundred_k | {"input": 100_001}) == Decimal("0.0525005")
    assert cost("claude-haiku-5-5", day, "batch", hundred_k) == Decimal("0.00525")
    assert cost("claude-opus-5-5", day, "realtime", hundred_k) == Decimal("0.42")


def test_batch_has_no_price_before_genai_prices_has_one() -> None:
    tokens = {**dict.fromkeys(BUCKETS, 0), "input": 1, "output": 1}
    assert cost("claude-haiku-4-5", dt.date(2026, 10, 13), "batch", tokens) is None
    assert cost("claude-haiku-4-5", dt.date(2026, 10, 14), "batch", tokens) is not None


@pytest.mark.parametrize("lineup", LINEUPS)
def test_every_role_of_a_lineup_is_filled_by_a_model_of_its_tier(lineup: str) -> None:
    roles = LINEUPS[lineup]
    assert set(roles) == {"haiku", "sonnet", "opus", "classifier"}
    for tier in ("haiku", "sonnet", "opus"):
        assert CATALOGUE["models"][roles[tier]]["tier"] == tier


def test_prices_are_plain_decimal_strings() -> None:
    for model in CATALOGUE["models"].values():
        for row in model["prices"]:
            for bucket in (*BUCKETS, "output"):
                assert str(row[bucket]) == f"{Decimal(row[bucket]).normalize():f}"


def test_the_committed_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"], TODAY) == 0, capsys.readouterr().err


def test_check_fails_on_a_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "catalogue.json"
    other.write_text("{}", encoding="utf-8")
    assert build.main(["--check", "--out", str(other)], TODAY) == 1
    assert "is not current" in capsys.readouterr().err
    assert other.read_text(encoding="utf-8") == "{}"


def test_building_writes_the_same_bytes_again(tmp_path: Path) -> None:
    out = tmp_path / "catalogue.json"
    assert build.main(["--out", str(out)], TODAY) == 0
    assert out.read_bytes() == CATALOGUE_FILE.read_bytes()


def test_a_lineups_model_without_a_price_ends_the_build_by_name() -> None:
    models = {"claude-haiku-9": CATALOGUE["models"]["claude-haiku-5-5"]}
    with pytest.raises(build.BuildError, match=r"'claude-haiku-9' \(lineup next\) has no price"):
        build.build(models, {"next": {"haiku": "claude-haiku-9"}})


def test_a_lineups_model_without_capabilities_ends_the_build_by_name() -> None:
    with pytest.raises(build.BuildError, match=r"lineup 'next': opus model 'claude-opus-9' is not in models\.json"):
        build.build({}, {"next": {"opus": "claude-opus-9"}})


def test_every_model_has_a_source() -> None:
    models = json.loads(build.MODELS.read_text(encoding="utf-8"))["models"]
    assert all(row["source"].startswith("https://") for row in models.values())
