"""Log lines and EMF metrics as they leave on standard output."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from cost_router.adapters.telemetry import PowertoolsTelemetry
from cost_router.contract import NAMESPACE, Metric
from cost_router.core.errors import StoreError
from cost_router.core.feedback import Feedback
from cost_router.core.ledger import Bill
from cost_router.core.pricing import Usage
from cost_router.core.record import Collected, Record
from cost_router.core.words import Label, Tier
from tests.builders import NOW
from tests.unit.adapters.test_ledger import CLASSIFIED, ENTRY

FULL = {
    "label": Label.SIMPLE,
    "cause": "classifier",
    "adapted": ("thinking=dropped",),
    "tier": Tier.HAIKU,
    "model": "claude-haiku-5-5",
    "usage": Usage(1, 2, 3, 4, 5),
    "bill": Bill(Decimal("0.000031"), Decimal("0.0000000001"), Decimal("0.00124"), Decimal("-0.0005")),
    "spend_today_usd": Decimal("1.5"),
    "unreserved": 1,
    "cache": "hit",
    "classifier_ms": 12.34,
    "classifier_failed": True,
    "fallback": True,
    "cascade": "json",
    "escalated": True,
    "speculation": "used",
    "rate_limits": 2,
    "ambiguous": 1,
    "latency_ms": 56.78,
    "upstream_request_id": "req_up",
}

RATED = Feedback(
    request_id="req_1",
    at=NOW,
    given_at=NOW + dt.timedelta(hours=20),  # on the day after
    tenant="acme",
    tags={"team": "shop"},
    arm="candidate",
    label=Label.MODERATE,
    tier=Tier.SONNET,
    model="claude-sonnet-5-5",
    cause="classifier",
    cost_usd=Decimal("0.000344"),
    baseline_usd=Decimal("0.0006"),
    score=Decimal("0.333333333333333333"),
    comment="a canary sings",
)


def make() -> PowertoolsTelemetry:
    """Of a stage of its own: Powertools has one log handler per service, bound to the standard output it first saw."""
    return PowertoolsTelemetry.make(uuid.uuid4().hex)


def record(**fields: Any) -> Record:
    return Record(**{"request_id": "req_1", "tenant": "acme", "tags": {"team": "shop"}, **fields})


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Log lines, and EMF objects."""
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if "_aws" not in line], [line for line in found if "_aws" in line]


def metrics(emf: dict[str, Any]) -> dict[str, Any]:
    """Values by metric name, as CloudWatch would read them."""
    (directive,) = emf["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    return {definition["Name"]: emf[definition["Name"]][0] for definition in directive["Metrics"]}


def dimensions(emf: dict[str, Any]) -> set[str]:
    (directive,) = emf["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    return set(names)


def contract() -> set[str]:
    return {value for name, value in vars(Metric).items() if name.isupper() and isinstance(value, str)}


def test_the_metrics_emitted_are_exactly_those_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record(**FULL))
    telemetry.done(record(cache="miss", status=500, classifier_skipped=True, speculation="abandoned"))
    for outcome in ("done", "failed", "deferred"):
        telemetry.done(record(kind="job", outcome=outcome))
    telemetry.unbooked([ENTRY], StoreError("dynamodb: down"))
    telemetry.collected(Collected(Decimal(1), Decimal(2), swept=3, steps=4))
    telemetry.stopped(402, 60.0)
    telemetry.rated(RATED)
    telemetry.drifted("2026-11-23", Decimal("0.5"), Decimal(0))
    _, emf = lines(capsys)
    assert set().union(*map(metrics, emf)) == contract()


def test_the_values_of_one_request(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record(**FULL))
    _, (whole, by_model) = lines(capsys)
    assert metrics(whole) == {
        "Requests": 1.0,
        "SpendUSD": 0.000031,
        "SavedUSD": 0.001209,
        "CacheSavedUSD": -0.0005,
        "SpendTodayUSD": 1.5,
        "ClassifierLatency": 12.34,
        "ClassifierFailures": 1.0,
        "LabelCacheHits": 1.0,
        "Fallbacks": 1.0,
        "CascadeEscalations": 1.0,
        "SpeculationsUsed": 1.0,
        "RateLimits": 2.0,
        "AmbiguousPayments": 1.0,
        "UnreservedCalls": 1.0,
        "RequestLatency": 56.78,
    }
    assert dimensions(whole) == {"service"}
    assert whole["service"] == f"cost-router-{telemetry.stage}"
    assert metrics(by_model) == {"Requests": 1.0, "SpendUSD": 0.000031}
    assert dimensions(by_model) == {"service", "model"}
    assert by_model["model"] == "claude-haiku-5-5"


def test_a_round_of_the_collector_tells_its_gauges_and_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.collected(Collected(Decimal("1.5"), Decimal(20), swept=3, steps=1))
    telemetry.collected(Collected(Decimal(0), Decimal(20)))
    _, (found, quiet) = lines(capsys)
    assert metrics(found) == {
        "SpendTodayUSD": 1.5,
        "SpendThisMonthUSD": 20.0,
        "SweptReservations": 3.0,
        "AmbiguousPayments": 3.0,
        "BudgetSteps": 1.0,
    }
    assert metrics(quiet) == {"SpendTodayUSD": 0.0, "SpendThisMonthUSD": 20.0}


def test_counts_of_zero_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record())
    _, (whole,) = lines(capsys)
    assert set(metrics(whole)) == {"Requests", "SpendUSD", "SavedUSD", "RequestLatency"}


@pytest.mark.parametrize("outcome", ["deferred", "already_done"])
def test_a_job_put_back_is_no_request_yet_but_its_spend_counts(
    outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = make()
    telemetry.done(record(**FULL, kind="job", outcome=outcome))
    _, (whole, by_model) = lines(capsys)
    assert {"Requests", "RequestLatency"}.isdisjoint(metrics(whole))
    assert metrics(whole)["SpendUSD"] == 0.000031
    assert metrics(by_model) == {"SpendUSD": 0.000031}


@pytest.mark.parametrize(
    ("kind", "status", "names"),
    [
        ("request", 499, {"Requests", "SpendUSD"}),
        ("request", 500, {"SpendUSD"}),
        ("job", 200, {"Requests", "SpendUSD"}),
        ("route", 200, set()),
    ],
)
def test_requests_by_model_are_those_it_answered_and_spend_by_model_is_all_that_was_paid(
    kind: str, status: int, names: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry = make()
    telemetry.done(record(**FULL, kind=kind, status=status))
    _, (_, *by_model) = lines(capsys)
    assert set().union(*map(metrics, by_model)) == names


def test_a_failure_that_cost_nothing_is_not_told_by_model(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record(model="claude-haiku-5-5", status=500))
    assert len(lines(capsys)[1]) == 1


@pytest.mark.parametrize(("status", "counted"), [(499, False), (500, True), (529, True)])
def test_errors_are_those_of_the_500s(
    status: int,
    counted: bool,  # noqa: FBT001  a column of the table
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry = make()
    telemetry.done(record(status=status))
    _, (whole,) = lines(capsys)
    assert ("Errors" in metrics(whole)) is counted


def test_the_log_line_of_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record(**FULL))
    (line,), _ = lines(capsys)
    frame = {"level", "location", "message", "timestamp", "service"}
    assert {name: value for name, value in line.items() if name not in frame} == {
        "request_id": "req_1",
        "upstream_request_id": "req_up",
        "tenant": "acme",
        "tags": {"team": "shop"},
        "model_used": "claude-haiku-5-5",
        "tier": "haiku",
        "complexity_label": "simple",
        "cause": "classifier",
        "adapted": ["thinking=dropped"],
        "label_cache": "hit",
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_5m_input_tokens": 3,
        "cache_creation_1h_input_tokens": 4,
        "output_tokens": 5,
        "cost_usd": "0.000031",
        "classifier_cost_usd": "0.0000000001",
        "baseline_usd": "0.00124",
        "cache_saved_usd": "-0.0005",
        "latency_ms": 56.8,
        "classifier_ms": 12.3,
        "cascade": "json",
        "escalated": True,
        "speculation": "used",
        "status": 200,
    } | {name: None for name in ("job", "outcome", "error") if name in line}
    assert (line["level"], line["message"]) == ("INFO", "request")


def test_entries_that_could_not_be_written_are_in_the_log_whole(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.unbooked([ENTRY, CLASSIFIED], StoreError("dynamodb.transact_write_items: ReadTimeoutError"))
    logged, (emf,) = lines(capsys)
    assert [line["entry"]["entry_id"] for line in logged] == ["req_1#0", "req_1#1"]
    assert (logged[0]["entry"]["cost_usd"], logged[0]["entry"]["output_tokens"]) == ("0.000031", 5)
    assert logged[1]["entry"]["cost_usd"] == "1E-10"
    assert metrics(emf) == {"LedgerFailures": 2.0}


def test_a_defect_is_told_by_place_and_kind_not_by_message(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    try:
        raise KeyError("canary")  # noqa: TRY301  a defect with a place
    except KeyError as error:
        telemetry.defect("req_1", error)
    (line,), _ = lines(capsys)
    assert (line["request_id"], line["error"]) == ("req_1", "KeyError")
    assert "test_telemetry.py" in line["frames"][-1]
    assert "canary" not in json.dumps(line)


def test_requests_that_overlap_do_not_share_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = make()
    telemetry.done(record(rate_limits=3))
    telemetry.done(record())
    _, (first, second) = lines(capsys)
    assert metrics(first)["RateLimits"] == 3.0
    assert "RateLimits" not in metrics(second)


@pytest.mark.parametrize("kind", ["count_tokens", "models"])
def test_what_is_told_for_nothing_makes_a_log_line_and_no_metrics(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make().done(record(kind=kind, model="claude-sonnet-5-5", latency_ms=5.0))
    (line,), emf = lines(capsys)
    assert (line["message"], line["model_used"], line["cost_usd"]) == (kind, "claude-sonnet-5-5", "0")
    assert emf == []
