"""Booking: once, whole, and in step with the counters, whatever happens at the same time."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger import DynamoLedger
from cost_router.adapters.ledger_items import entry_in, row
from cost_router.adapters.system import SystemChance, SystemClock
from cost_router.adapters.transactions import TRIES
from cost_router.contract import Table
from cost_router.core.budget import Pace, Period, Reservation, Scope, Standing
from cost_router.core.errors import BudgetExhausted, PaceExceeded, StoreError
from cost_router.core.ledger import Entry, Shadow, reversal, swept
from cost_router.core.pricing import Usage
from cost_router.core.words import Label, Tier
from tests.builders import NOW, FakeClock, FixedChance, run
from tests.unit.adapters.tables import make_table

ENTRY = Entry(
    entry_id="req_1#0",
    at=NOW,
    request_id="req_1",
    upstream_request_id="req_up",
    tenant="acme",
    tags={"customer": "globex"},
    label=Label.SIMPLE,
    cause="classifier",
    tier=Tier.HAIKU,
    model="claude-haiku-5-5",
    purpose="answer",
    usage=Usage(1, 2, 3, 4, 5),
    cost_usd=Decimal("0.000031"),
    baseline_usd=Decimal("0.00124"),
    asked="auto",
    reservation="req_1#0",
)
CLASSIFIED = dataclasses.replace(
    ENTRY,
    entry_id="req_1#1",
    purpose="classifier",
    cost_usd=Decimal("0.0000000001"),
    baseline_usd=Decimal(0),
    label=None,
)


def ledger(aws: Aws, table: str | None = None) -> DynamoLedger:
    table = table or make_table(aws, Table.LEDGER_PK, Table.LEDGER_SK)
    return DynamoLedger(aws, table, SystemClock(), SystemChance())


def items(of: DynamoLedger, pk: str) -> dict[str, dict[str, Any]]:
    """The items under a partition key, by sort key."""
    reply = of.aws.client("dynamodb").query(
        TableName=of.table,
        KeyConditionExpression="#pk = :pk",
        ExpressionAttributeNames={"#pk": Table.LEDGER_PK},
        ExpressionAttributeValues={":pk": {"S": pk}},
        ConsistentRead=True,
    )
    read = TypeDeserializer().deserialize
    found = [{name: read(value) for name, value in item.items()} for item in reply["Items"]]
    return {str(item[Table.LEDGER_SK]): item for item in found}


def sums(entries: Iterable[Entry]) -> dict[str, Decimal]:
    listed = list(entries)
    return {
        "cost_usd": sum((entry.cost_usd for entry in listed), Decimal(0)),
        "committed_usd": sum((entry.cost_usd for entry in entries), Decimal(0)),
        "baseline_usd": sum((entry.baseline_usd for entry in listed), Decimal(0)),
        "classifier_cost_usd": sum((entry.cost_usd for entry in listed if entry.purpose == "classifier"), Decimal(0)),
        "answers": Decimal(sum(entry.purpose == "answer" for entry in listed)),
        "calls": Decimal(len(listed)),
    }


def counters(of: DynamoLedger, day: str = "2026-11-23") -> dict[str, dict[str, Any]]:
    keys = (Table.LEDGER_PK, Table.LEDGER_SK)
    found = items(of, f"counters#{day}")
    return {scope: {name: value for name, value in item.items() if name not in keys} for scope, item in found.items()}


def test_an_entry_is_kept_with_the_attributes_of_the_design(aws: Aws) -> None:
    booked = ledger(aws)
    run(booked.book([ENTRY], []))
    assert items(booked, "entries#2026-11-23") == {
        "req_1#0": {
            "pk": "entries#2026-11-23",
            "sk": "req_1#0",
            "entry_id": "req_1#0",
            "at": "2026-11-23T12:00:00.000+00:00",
            "request_id": "req_1",
            "upstream_request_id": "req_up",
            "tenant": "acme",
            "tags": {"customer": "globex"},
            "label": "simple",
            "cause": "classifier",
            "tier": "haiku",
            "model": "claude-haiku-5-5",
            "asked": "auto",
            "purpose": "answer",
            "processing": "realtime",
            "input_tokens": 1,
            "cache_read_input_tokens": 2,
            "cache_creation_5m_input_tokens": 3,
            "cache_creation_1h_input_tokens": 4,
            "output_tokens": 5,
            "cost_usd": Decimal("0.000031"),
            "baseline_usd": Decimal("0.00124"),
            "reservation": "req_1#0",
            "flags": [],
        }
    }


def test_what_a_marker_of_the_routers_saved_is_kept_where_there_was_one(aws: Aws) -> None:
    booked = ledger(aws)
    marked = dataclasses.replace(ENTRY, entry_id="req_1#2", cache_saved_usd=Decimal("-0.0005"))
    run(booked.book([ENTRY, marked], []))
    plain, item = items(booked, "entries#2026-11-23").values()
    assert "cache_saved_usd" not in plain
    assert item["cache_saved_usd"] == Decimal("-0.0005")
    assert (entry_in(plain), entry_in(item)) == (ENTRY, marked)


def test_the_arm_and_what_a_shadow_would_have_done_are_kept_and_read_back(aws: Aws) -> None:
    booked = ledger(aws)
    shadow = Shadow(Label.COMPLEX, Tier.OPUS, "claude-opus-4-8", Decimal("0.00075"))
    unsure = dataclasses.replace(ENTRY, entry_id="req_1#1", shadow=Shadow(None, Tier.HAIKU, "claude-haiku-4-5"))
    entries = [dataclasses.replace(ENTRY, arm="control", shadow=shadow), unsure]
    run(booked.book(entries, []))
    found = items(booked, "entries#2026-11-23")
    told = {name: value for name, value in found["req_1#0"].items() if name == "arm" or "shadow" in name}
    assert told == {
        "arm": "control",
        "shadow_label": "complex",
        "shadow_tier": "opus",
        "shadow_model": "claude-opus-4-8",
        "shadow_cost_usd": Decimal("0.00075"),
    }
    assert [entry_in(item) for item in found.values()] == entries


def test_counters_are_the_sums_of_their_entries_to_the_last_digit(aws: Aws) -> None:
    booked = ledger(aws)
    other = dataclasses.replace(ENTRY, entry_id="req_2#0", request_id="req_2", tenant="shop")
    run(booked.book([ENTRY, CLASSIFIED], []))
    run(booked.book([other], []))
    assert counters(booked) == {
        "account": sums([ENTRY, CLASSIFIED, other]),
        "tenant#acme": sums([ENTRY, CLASSIFIED]),
        "tenant#shop": sums([other]),
    }
    assert spent(booked, "2026-11-23") == Decimal("0.0000620001")


def test_booking_twice_changes_nothing(aws: Aws) -> None:
    booked = ledger(aws)
    run(booked.book([ENTRY, CLASSIFIED], []))
    before = counters(booked)
    run(booked.book([ENTRY, CLASSIFIED], []))
    assert counters(booked) == before
    assert len(items(booked, "entries#2026-11-23")) == 2


def test_a_trip_over_midnight_moves_the_counters_of_both_days(aws: Aws) -> None:
    booked = ledger(aws)
    late = dataclasses.replace(ENTRY, at=dt.datetime(2026, 11, 23, 23, 59, 59, 999_000, dt.UTC))
    early = dataclasses.replace(CLASSIFIED, at=dt.datetime(2026, 11, 24, tzinfo=dt.UTC))
    run(booked.book([late, early], []))
    assert counters(booked, "2026-11-23")["account"] == sums([late])
    assert counters(booked, "2026-11-24")["account"] == sums([early])


def test_nothing_is_spent_on_a_day_without_entries(aws: Aws) -> None:
    assert spent(ledger(aws), "1999-12-31") == 0


def test_sixteen_bookings_at_once_all_land_once(aws: Aws) -> None:
    """Each booking comes twice at the same moment, as after a lost reply."""
    booked = ledger(aws)
    entries = [dataclasses.replace(ENTRY, entry_id=f"req_{place}#0", request_id=f"req_{place}") for place in range(16)]

    async def all_at_once() -> None:
        await asyncio.gather(*(booked.book([entry], []) for entry in entries for _ in range(2)))

    run(all_at_once())
    assert len(items(booked, "entries#2026-11-23")) == 16
    assert counters(booked)["account"] == sums(entries)


def spent(booked: DynamoLedger, day: str) -> Decimal:
    (standing,) = run(booked.standings(dt.datetime.fromisoformat(f"{day}T12:00+00:00"), [Scope("account", None)]))
    return standing.spent_usd


class Scripted:
    """A DynamoDB client whose transactions fail as the script says."""

    def __init__(self, *failures: list[str] | str | None) -> None:
        """A list is a cancelled transaction's reasons; a word is the code of another error."""
        self.failures = list(failures)
        self.transactions: list[list[dict[str, Any]]] = []
        self.tokens: set[str] = set()

    def transact_write_items(
        self,
        *,
        TransactItems: list[dict[str, Any]],  # noqa: N803  boto3's name
        ClientRequestToken: str,  # noqa: N803
    ) -> None:
        self.transactions.append(TransactItems)
        self.tokens.add(ClientRequestToken)
        reasons = self.failures.pop(0) if self.failures else None
        if isinstance(reasons, str):
            raise ClientError({"Error": {"Code": reasons}}, "TransactWriteItems")
        if reasons is not None:
            error = {
                "Error": {"Code": "TransactionCanceledException"},
                "CancellationReasons": [{"Code": code} for code in reasons],
            }
            raise ClientError(error, "TransactWriteItems")  # type: ignore[arg-type]  # boto3's stubs lack the reasons


def scripted(*failures: list[str] | str | None) -> tuple[DynamoLedger, Scripted, FakeClock]:
    client, clock, aws = Scripted(*failures), FakeClock(), Aws()
    aws._clients["dynamodb"] = client
    return DynamoLedger(aws, "ledger", clock, FixedChance()), client, clock


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_what_passes_with_time_is_tried_again_with_growing_jitter(reason: str) -> None:
    booked, client, clock = scripted(["None", reason], [reason, "None"], ["None", reason])
    run(booked.book([ENTRY], []))
    assert len(client.transactions) == 4
    assert len(client.tokens) == 1, "for DynamoDB they are one"
    assert clock.slept == [0.01, 0.02, 0.04]


def test_a_booking_that_was_made_before_is_a_success() -> None:
    booked, client, _ = scripted(["TransactionConflict", "None"], ["ConditionalCheckFailed", "None", "None"])
    run(booked.book([ENTRY], []))
    assert len(client.transactions) == 2


@pytest.mark.parametrize("code", ["TransactionInProgressException", "ThrottlingException", "InternalServerError"])
def test_an_error_that_may_have_been_written_is_repeated_until_the_condition_tells(code: str) -> None:
    booked, client, _ = scripted(code, ["ConditionalCheckFailed", "None", "None"])
    run(booked.book([ENTRY], []))
    assert len(client.transactions) == 2


@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ResourceNotFoundException"])
def test_what_no_repetition_mends_is_told_at_once(code: str) -> None:
    booked, client, _ = scripted(code)
    with pytest.raises(StoreError, match=code):
        run(booked.book([ENTRY], []))
    assert len(client.transactions) == 1


def test_conflicts_without_end_are_told() -> None:
    booked, client, clock = scripted(*[["TransactionConflict"]] * 99)
    with pytest.raises(StoreError, match=r"dynamodb\.transact_write_items: TransactionCanceledException"):
        run(booked.book([ENTRY], []))
    assert len(client.transactions) == TRIES
    assert sum(clock.slept) < 6.0


def test_other_refusals_are_told_at_once() -> None:
    booked, client, _ = scripted(["ValidationError"])
    with pytest.raises(StoreError):
        run(booked.book([ENTRY], []))
    assert len(client.transactions) == 1


def test_a_table_that_is_not_there_is_a_store_error(aws: Aws) -> None:
    with pytest.raises(StoreError, match="ResourceNotFoundException"):
        run(ledger(aws, "nowhere").book([ENTRY], []))
    with pytest.raises(StoreError, match="ResourceNotFoundException"):
        spent(ledger(aws, "nowhere"), "2026-11-23")


def test_nothing_to_say_is_left_out_of_the_item(aws: Aws) -> None:
    booked = ledger(aws)
    run(booked.book([dataclasses.replace(CLASSIFIED, upstream_request_id=None, flags=("ambiguous",))], []))
    (item,) = items(booked, "entries#2026-11-23").values()
    assert {"label", "upstream_request_id"}.isdisjoint(item)
    assert item["flags"] == ["ambiguous"]
    assert set(row(ENTRY)) - set(item) == {"label", "upstream_request_id", "job", "arm", "cache_saved_usd"}


def test_speed_place_and_searches_are_written_when_they_are_not_as_usual(aws: Aws) -> None:
    booked = ledger(aws)
    unusual = dataclasses.replace(ENTRY.usage, speed="fast", inference_geo="us", web_search_requests=2)
    run(booked.book([dataclasses.replace(ENTRY, usage=unusual)], []))
    (item,) = items(booked, "entries#2026-11-23").values()
    assert (item["speed"], item["inference_geo"], item["web_search_requests"]) == ("fast", "us", 2)
    assert {"speed", "inference_geo", "web_search_requests"}.isdisjoint(row(ENTRY))


# --- budgets

LAST_DOLLAR = Scope("account", Decimal(1))


def reservation(number: int, amount: str, *scopes: Scope) -> Reservation:
    return reserved(number, amount, scopes or (LAST_DOLLAR,))


def reserved(number: int, amount: str, scopes: tuple[Scope, ...], pace: Pace | None = None) -> Reservation:
    id_, until = f"req_{number}#0", NOW + dt.timedelta(minutes=5)
    lost = dataclasses.replace(
        ENTRY, entry_id=id_, request_id=f"req_{number}", cost_usd=Decimal(amount), flags=("ambiguous",), usage=Usage()
    )
    return Reservation(id_, Decimal(amount), scopes, until, lost, pace)


def standing(booked: DynamoLedger, scope: Scope = LAST_DOLLAR, at: dt.datetime = NOW) -> Standing:
    (found,) = run(booked.standings(at, [scope]))
    return found


def test_sixty_four_at_once_against_the_last_dollar_admit_exactly_as_many_as_fit(aws: Aws) -> None:
    booked = ledger(aws)

    async def one(number: int) -> bool:
        try:
            await booked.reserve(reservation(number, "0.07"))
        except BudgetExhausted:
            return False
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(64)))

    assert sum(run(all_of_them())) == 14  # 14 x 0.07 = 0.98
    assert standing(booked) == Standing(LAST_DOLLAR, Decimal(0), Decimal("0.98"))


def test_a_budget_is_met_to_the_last_digit(aws: Aws) -> None:
    booked = ledger(aws)
    run(booked.reserve(reservation(1, "0.9999999")))
    with pytest.raises(BudgetExhausted, match="budget:account-daily"):
        run(booked.reserve(reservation(2, "0.0000002")))
    run(booked.reserve(reservation(3, "0.0000001")))
    assert standing(booked).committed_usd == 1


def test_what_is_larger_than_the_whole_budget_is_refused_on_an_empty_table(aws: Aws) -> None:
    with pytest.raises(BudgetExhausted):
        run(ledger(aws).reserve(reservation(1, "1.01")))


def test_putting_the_same_aside_twice_changes_nothing(aws: Aws) -> None:
    booked = ledger(aws)
    for _ in range(3):
        run(booked.reserve(reservation(1, "0.4")))
    assert standing(booked).committed_usd == Decimal("0.4")


def test_all_scopes_or_none_are_put_aside(aws: Aws) -> None:
    booked, tenant = ledger(aws), Scope("tenant#acme", Decimal("0.1"))
    run(booked.reserve(reservation(1, "0.08", LAST_DOLLAR, tenant)))
    with pytest.raises(BudgetExhausted, match="budget:tenant-daily"):
        run(booked.reserve(reservation(2, "0.08", LAST_DOLLAR, tenant)))
    assert standing(booked).committed_usd == Decimal("0.08")
    assert standing(booked, tenant).committed_usd == Decimal("0.08")


def test_settling_replaces_what_was_put_aside_by_the_real_cost_once(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    for _ in range(3):  # the second and third are repetitions after a lost reply
        run(booked.book([ENTRY], [aside]))
    assert standing(booked) == Standing(LAST_DOLLAR, ENTRY.cost_usd, ENTRY.cost_usd)


def test_what_cost_nothing_is_given_back_once(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    for _ in range(3):
        run(booked.book([], [aside]))
    assert standing(booked) == Standing(LAST_DOLLAR, Decimal(0), Decimal(0))


def test_payments_are_written_though_somebody_else_gave_the_reservation_back(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    run(booked.book([], [aside]))
    for _ in range(2):
        run(booked.book([ENTRY], [aside]))
    assert standing(booked) == Standing(LAST_DOLLAR, ENTRY.cost_usd, ENTRY.cost_usd)


def test_what_is_put_aside_before_midnight_and_spent_after_it_counts_for_each_day_once(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    tomorrow = dataclasses.replace(ENTRY, at=ENTRY.at + dt.timedelta(days=1))
    run(booked.book([tomorrow], [aside]))
    assert standing(booked) == Standing(LAST_DOLLAR, Decimal(0), Decimal(0))
    assert spent(booked, "2026-11-24") == ENTRY.cost_usd


# --- months, sessions, pace


MONTH = Scope("account", Decimal(10), Period.MONTH)


def test_counters_of_the_month_sum_its_days_and_a_monthly_budget_holds_over_them(aws: Aws) -> None:
    booked = ledger(aws)
    first, last = dt.datetime(2026, 11, 1, tzinfo=dt.UTC), dt.datetime(2026, 11, 30, 23, 59, 59, 999_999, dt.UTC)
    for number, at in enumerate((first, last, dt.datetime(2026, 12, 1, tzinfo=dt.UTC))):
        entry = dataclasses.replace(ENTRY, entry_id=f"req_{number}#9", at=at, cost_usd=Decimal(4), tenant=f"t{number}")
        run(booked.book([entry], []))
    assert standing(booked, MONTH) == Standing(MONTH, Decimal(8), Decimal(8))
    assert counters(booked, "2026-11")["account"]["calls"] == 2
    with pytest.raises(BudgetExhausted, match="budget:account-monthly"):
        run(booked.reserve(reservation(1, "2.01", MONTH)))
    run(booked.reserve(reservation(2, "2", MONTH)))


def test_a_session_s_calls_count_for_it_until_they_expire(aws: Aws) -> None:
    booked, session = ledger(aws), Scope("session#acme/loop", Decimal(1))
    aside = reservation(1, "0.5", session)
    run(booked.reserve(aside))
    run(booked.book([ENTRY], [aside]))
    assert standing(booked, session) == Standing(session, ENTRY.cost_usd, ENTRY.cost_usd)
    kept = counters(booked)["session#acme/loop"]
    assert kept[Table.TTL] > dt.datetime.now(dt.UTC).timestamp()
    assert Table.TTL not in counters(booked)["account"]


def test_a_session_makes_as_many_requests_a_minute_as_its_pace_allows_however_many_come_at_once(aws: Aws) -> None:
    booked, pace = ledger(aws), Pace("session#acme/loop", 5)

    async def one(number: int) -> bool:
        try:
            await booked.reserve(reserved(number, "0.1", (), pace))
        except PaceExceeded:
            return False
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(16)))

    assert sum(run(all_of_them())) == 5
    assert len(run(booked.outstanding())) == 5, "what is refused puts nothing aside"


# --- sweeping


def test_a_reservation_is_read_back_as_it_was_made_but_for_the_limits(aws: Aws) -> None:
    booked = ledger(aws)
    aside = reservation(1, "0.5", LAST_DOLLAR, MONTH)
    run(booked.reserve(aside))
    unlimited = tuple(dataclasses.replace(scope, limit_usd=None) for scope in aside.scopes)
    assert run(booked.outstanding()) == [dataclasses.replace(aside, scopes=unlimited)]


def test_what_is_swept_is_booked_once_as_ambiguous_at_its_upper_bound(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    (found,) = run(booked.outstanding())
    assert [run(booked.sweep(found)) for _ in range(3)] == [True, False, False]
    (item,) = items(booked, "entries#2026-11-23").values()
    assert (item["entry_id"], item["flags"], item["cost_usd"]) == (
        "req_1#0#swept",
        ["ambiguous", "swept"],
        Decimal("0.5"),
    )
    assert standing(booked) == Standing(LAST_DOLLAR, Decimal("0.5"), Decimal("0.5"))
    assert run(booked.outstanding()) == []


def test_what_was_settled_is_not_swept(aws: Aws) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    (found,) = run(booked.outstanding())
    run(booked.book([ENTRY], [aside]))
    assert not run(booked.sweep(found))
    assert standing(booked) == Standing(LAST_DOLLAR, ENTRY.cost_usd, ENTRY.cost_usd)


@pytest.mark.parametrize("paid", [[ENTRY], []])
def test_settling_what_was_swept_reverses_it_once(aws: Aws, paid: list[Entry]) -> None:
    booked, aside = ledger(aws), reservation(1, "0.5")
    run(booked.reserve(aside))
    run(booked.sweep(run(booked.outstanding())[0]))
    for _ in range(3):
        run(booked.book(paid, [aside]))
    spent_in_the_end = sum((entry.cost_usd for entry in paid), Decimal(0))
    assert standing(booked) == Standing(LAST_DOLLAR, spent_in_the_end, spent_in_the_end)
    lost = aside.if_lost
    expected = {swept(lost).entry_id, reversal(lost).entry_id, *(entry.entry_id for entry in paid)}
    assert set(items(booked, "entries#2026-11-23")) == expected
    assert counters(booked)["account"]["calls"] == len(paid)


def test_settling_many_of_which_one_was_swept_gives_the_others_back(aws: Aws) -> None:
    booked = ledger(aws)
    asides = [reservation(number, "0.2") for number in range(3)]
    for aside in asides:
        run(booked.reserve(aside))
    run(booked.sweep(run(booked.outstanding())[1]))
    run(booked.book([ENTRY], asides))
    assert standing(booked) == Standing(LAST_DOLLAR, ENTRY.cost_usd, ENTRY.cost_usd)
    assert run(booked.outstanding()) == []
