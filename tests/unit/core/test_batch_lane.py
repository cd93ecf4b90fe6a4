"""The batch lane: covered before it is submitted, submitted once, booked right, each job delivered once."""

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from cost_router.core.batch_lane import CERTAIN, HELD_FOR, KEPT, LEASE, State
from cost_router.core.budget import Limits
from cost_router.core.collecting import Collector
from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.ledger import Entry
from cost_router.core.pricing import cost
from cost_router.handlers import wiring, wiring_bulk
from tests.builders import World, catalogue, failing, job, limited, message_body, model, rejected, run, tenant
from tests.bulk import Killed, RecordingEvents, RecordingReturns
from tests.lane import USED, FakeBatches, MemoryLines
from tests.unit.core.test_collecting import Policies, Post, Shelf

LOST = UpstreamError(Failure.TIMEOUT, maybe_billed=True)
MINUTE = dt.timedelta(minutes=1)


class Lane:
    """A queue's door and the collector's rounds over one world."""

    def __init__(self, *tenants: Any, **world: Any) -> None:
        self.world = World(*tenants, **world)
        self.batches = FakeBatches(self.world.clock)
        self.store = self.world.lines
        self.policies = Policies({name: owner.limits for name, owner in self.world.tenants.tenants.items()})
        self.returns, self.events = RecordingReturns(), RecordingEvents()
        parts = wiring_bulk.LaneParts(
            batches=self.batches,
            store=self.store,
            jobs=self.world.jobs,
            groups=self.world.groups,
            queue=self.returns,
            events=self.events,
            ledger=self.world.ledger,
            lines=MemoryLines(self.world.ledger),
            policies=self.policies,
            results=self.world.results,
            clock=self.world.clock,
            chance=self.world.chance,
            telemetry=self.world.telemetry,
        )
        self.rounds = wiring_bulk.lane(self.world.settings, parts)

    def drop(self, *names: str, **router: Any) -> list[str]:
        """Jobs of the batch lane on the queue; gives the messages that stay on it."""
        params = router.pop("params", None)
        records = [job(name, params=params, **{"lane": "batch", "group": "g", **router}) for name in names]
        left = run(self.world.door().drain({"Records": records}, 900.0))
        return [failure["itemIdentifier"] for failure in left["batchItemFailures"]]

    def round(self, after: dt.timedelta = MINUTE) -> None:
        self.world.clock.advance(after.total_seconds())
        run(self.rounds.every_minute())

    def sweep(self) -> None:
        collector = Collector(
            ledger=self.world.ledger,
            reservations=self.world.ledger,
            ledger_reader=self.world.reader,
            policies=self.policies,
            alerts=Post(),
            exports=Shelf(),
            clock=self.world.clock,
            telemetry=self.world.telemetry,
            catalogue=catalogue(),
        )
        run(collector.every_minute())

    def request_id(self, name: str) -> str:
        return self.store.lines[f"g/{name}"][1].request_id

    @property
    def results(self) -> dict[str, Mapping[str, Any]]:
        return {place.split("/")[1]: found for place, found in self.world.results.items.items()}

    @property
    def kinds(self) -> dict[str, str]:
        return {name: found["result"]["type"] for name, found in self.results.items()}

    @property
    def answers(self) -> list[Entry]:
        return [entry for entry in self.world.ledger.entries if entry.purpose == "answer"]

    @property
    def batch(self) -> Any:
        return list(self.store.all_batches.values())[-1]


def errored(kind: str) -> dict[str, Any]:
    error = {"type": "error", "error": {"type": kind, "message": "told by Claude"}}
    return {"type": "errored", "error": error}


def test_a_job_is_labelled_and_parked_and_its_message_is_done() -> None:
    lane = Lane()
    assert lane.drop("a", "b") == []
    assert sorted(lane.store.waiting) == ["g/a", "g/b"]
    assert [told.outcome for told in lane.world.telemetry.records] == ["parked", "parked"]
    assert lane.world.claude.answer_calls == []
    assert lane.world.ledger.open == {}, "money is put aside when it is packed"


def test_all_that_is_parked_goes_into_one_batch_of_mixed_models_and_comes_back() -> None:
    lane = Lane(budget=Decimal(10))
    lane.drop("a", "b")
    lane.drop("c", floor="opus")
    lane.round()
    assert len(lane.batches.made) == 1
    held = lane.world.ledger.open.values()
    assert len(held) == 3
    assert {scope.key for row in held for scope in row.scopes} == {"account"}
    lane.round()
    assert lane.kinds == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert {entry.model for entry in lane.answers} == {"claude-haiku-5-5", "claude-opus-5-5"}
    assert lane.world.ledger.open == {}
    assert (lane.store.closed, lane.store.bodies) == ([lane.batch.marker], {})
    lane.round()
    assert len(lane.batches.made) == 1


def test_a_line_is_booked_at_batch_prices_and_compared_with_opus_at_the_realtime_price() -> None:
    lane = Lane()
    lane.drop("a", tags={"customer": "globex"})
    lane.round()
    lane.round()
    (entry,) = lane.answers
    # 1,000 input, 2,000 cache reads and 100 output at 0.05, 0.005 and 0.25 dollars per million.
    assert entry.cost_usd == Decimal("0.000085")
    assert entry.baseline_usd == cost(model("claude-opus-5-5"), USED, on=entry.at.date())
    assert (entry.processing, entry.purpose, entry.usage, entry.flags) == ("batch", "answer", USED, ())
    assert (entry.tenant, entry.tags, entry.cause) == ("default", {"customer": "globex"}, "classifier")
    marker = lane.batch.marker
    assert entry.upstream_request_id == f"msg_{marker}-{lane.request_id('a')}"
    router = lane.results["a"]["router"]
    assert (router["model"], router["lane"], router["label"], router["cause"]) == (
        "claude-haiku-5-5",
        "batch",
        "simple",
        "classifier",
    )
    classifier = sum(row.cost_usd for row in lane.world.ledger.entries if row.purpose == "classifier")
    assert Decimal(router["cost_usd"]) == entry.cost_usd + classifier
    done = lane.world.telemetry.records[-1]
    assert (done.outcome, done.bill.cost_usd, done.lane) == ("done", entry.cost_usd, "batch")


def test_negotiated_discounts_are_taken_off_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, agreed = wiring.data, {"claude-haiku-5-5": {"percent": "20", "from": "2026-01-01"}}
    monkeypatch.setattr(
        wiring, "data", lambda name, *rest, **kw: agreed if "disc" in name else plain(name, *rest, **kw)
    )
    lane = Lane()
    lane.drop("a")
    lane.round()
    lane.round()
    (entry,) = lane.answers
    assert entry.cost_usd == Decimal("0.000085") * Decimal("0.8")


def test_the_upper_bound_of_a_line_is_put_aside_at_the_batch_price_for_29_hours() -> None:
    lane = Lane()
    lane.drop("a", params=message_body(model="haiku", max_tokens=1_000))
    lane.round()
    (held,) = lane.world.ledger.reserved
    line = lane.store.lines["g/a"][1]
    # Without a geography of its own the line may run in the dearest: a tenth more.
    expected = (line.most_prompt_tokens * Decimal("0.055") + 1_000 * Decimal("0.275")) / 1_000_000
    assert held.amount_usd == expected
    assert held.until == held.at + dt.timedelta(hours=29)
    assert held.if_lost.processing == "batch"


@pytest.mark.parametrize(("cap", "kind"), [("0.0004", None), ("0.00039", "errored")])
def test_a_job_s_own_cap_is_compared_with_the_batch_price(cap: str, kind: str | None) -> None:
    """2,217 tokens of prompt at 0.055 and 1,000 of output at 0.275 dollars per million: 0.000396935."""
    lane = Lane()
    lane.drop("a", params=message_body(model="haiku", max_tokens=1_000), max_cost_usd=cap)
    assert lane.kinds.get("a") == kind


def test_a_body_is_adapted_and_kept_apart_from_the_line() -> None:
    lane = Lane()
    lane.drop("a", params=message_body(model="haiku", temperature=0.5))
    lane.round()
    ((_, [(custom_id, params)]),) = lane.batches.made.values()
    assert custom_id == f"{lane.batch.marker}-{lane.request_id('a')}"
    assert b'"claude-haiku-5-5"' in params
    assert "Great shoes" not in repr(lane.store.lines)


def test_a_job_that_comes_again_is_neither_labelled_nor_submitted_again() -> None:
    lane = Lane()
    lane.drop("a", cache="off")
    lane.drop("a", cache="off")
    lane.round()
    lane.drop("a", cache="off")
    lane.round()
    lane.drop("a", cache="off")
    lane.round()
    assert len(lane.batches.submitted) == 1
    assert len(lane.world.claude.classifier_calls) == 1
    outcomes = [told.outcome for told in lane.world.telemetry.records]
    assert outcomes == ["parked", "already_done", "already_done", "done", "already_done"]


def test_of_two_workers_with_the_same_job_one_parks_it() -> None:
    lane = Lane()
    records = [job("a", lane="batch", group="g") | {"messageId": name} for name in ("m-1", "m-2")]
    run(lane.world.door().drain({"Records": records}, 900.0))
    lane.round()
    assert len(lane.batches.submitted) == 1


def test_broken_jobs_fail_at_the_door_and_limits_put_them_back() -> None:
    lane = Lane()
    lane.drop("late", answer_by="2020-01-01T00:00:00Z")
    lane.drop("unknown", params=message_body(model="gpt-4"))
    assert lane.kinds == {"late": "errored", "unknown": "errored"}
    assert lane.results["late"]["router"]["lane"] == "batch"
    lane.world.claude.labels.extend([limited(429, 900.0)])
    assert lane.drop("limited") == ["limited"]
    assert lane.world.telemetry.records[-1].outcome == "deferred"
    assert lane.store.waiting == []


def test_what_a_budget_does_not_cover_waits_and_the_others_go() -> None:
    tight = Limits(daily_usd=Decimal("0.0006"))
    lane = Lane(tenant("acme"), tenant("poor", limits=tight), budget=None)
    body = message_body(model="haiku", max_tokens=1_000)  # 0.00025 for output, 0.0002 and some for the prompt
    lane.drop("p-1", "p-2", tenant="poor", params=body)
    lane.drop("a", tenant="acme", params=body)
    lane.round()
    assert lane.store.waiting == ["g/p-2"]
    assert {row.if_lost.tenant for row in lane.world.ledger.open.values()} == {"poor", "acme"}
    noted = [fields for event, fields in lane.world.telemetry.notes if event == "batch_lines_wait"]
    assert noted == [{"lines": 1}]
    lane.world.clock.advance(86_400)
    lane.round()
    lane.round()
    assert set(lane.kinds) == {"p-1", "p-2", "a"}
    assert sum(len(lines) for _, lines in lane.batches.made.values()) == 3


def test_the_lines_of_a_tenant_that_was_disabled_wait_until_it_is_enabled() -> None:
    lane = Lane(tenant("acme"), tenant("gone"))
    lane.drop("g", tenant="gone")
    lane.drop("a", tenant="acme")
    disabled = lane.policies.found.pop("gone")
    lane.round()
    assert (lane.store.waiting, len(lane.batches.made)) == (["g/g"], 1)
    lane.policies.found["gone"] = disabled
    lane.round()
    lane.round()
    assert lane.kinds == {"a": "succeeded", "g": "succeeded"}


def test_a_line_that_another_reservation_has_overtaken_is_parked_again() -> None:
    lane = Lane()
    lane.drop("a")

    async def refuse(rows: Any) -> set[str]:
        assert len(rows) == 1
        return set()

    lane.rounds.packer.lines.put_aside = refuse  # type: ignore[method-assign, assignment]
    lane.round()
    assert (lane.store.waiting, lane.batches.made) == (["g/a"], {})
    assert lane.store.lines["g/a"][1].aside is None
    assert lane.store.closed == [lane.batch.marker]


def test_a_session_s_budget_counts_its_lines() -> None:
    lane = Lane(limits=Limits(session_usd=Decimal(1)))
    lane.drop("a", session="agent-7")
    lane.round()
    (held,) = lane.world.ledger.open.values()
    assert [scope.key for scope in held.scopes] == ["session#default/agent-7"]


def test_an_entry_counts_for_the_day_of_its_reservation() -> None:
    lane = Lane()
    lane.world.clock.at = dt.datetime(2026, 11, 23, 23, 57, tzinfo=dt.UTC)
    lane.drop("a")
    lane.round()
    lane.round(after=dt.timedelta(hours=20))
    (entry,) = lane.answers
    assert entry.day == "2026-11-23"


def test_a_batch_that_is_in_progress_or_missing_is_looked_at_again() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.ended, lane.batches.missing = False, 2
    for _ in range(5):
        lane.round()
    assert lane.results == {}
    lane.batches.ended = True
    lane.round()
    assert lane.kinds == {"a": "succeeded"}


@pytest.mark.parametrize("kind", ["api_error", "overloaded_error", "rate_limit_error", "timeout_error"])
def test_a_line_that_claude_could_not_serve_is_submitted_once_more(kind: str) -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.batches.outcomes[lane.request_id("a")] = errored(kind)
    lane.round()
    lane.batches.outcomes[lane.request_id("a")] = errored(kind)
    lane.round()
    assert (lane.kinds, lane.store.lines["g/a"][1].tries) == ({"b": "succeeded"}, 1)
    lane.round()
    assert lane.results["a"]["result"] == errored(kind)
    assert lane.batches.submitted.count(lane.request_id("a")) == 2
    assert lane.world.ledger.open == {}
    assert len(lane.answers) == 1, "an errored line is not billed"


def test_a_line_that_succeeds_the_second_time_has_an_entry_of_its_own() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.outcomes[lane.request_id("a")] = {"type": "expired"}
    lane.round()
    lane.round()
    lane.round()
    assert [entry.entry_id for entry in lane.answers] == [f"{lane.request_id('a')}#line1"]
    assert lane.kinds == {"a": "succeeded"}


@pytest.mark.parametrize("result", [errored("invalid_request_error"), errored("not_found_error"), {"type": "canceled"}])
def test_a_refused_or_canceled_line_is_delivered_as_it_is_and_not_repeated(result: dict[str, Any]) -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.outcomes[lane.request_id("a")] = result
    lane.round()
    lane.round()
    assert lane.results["a"]["result"] == result
    assert lane.results["a"]["router"]["baseline_usd"] == "0"
    assert (lane.answers, lane.world.ledger.open, lane.store.waiting) == ([], {}, [])
    told = lane.world.telemetry.records[-1]
    assert (told.outcome, told.status) == ("failed", 400)


def test_an_answer_without_usage_is_booked_at_its_upper_bound_and_delivered() -> None:
    lane = Lane()
    lane.batches.usage = None
    lane.drop("a")
    lane.round()
    (held,) = lane.world.ledger.open.values()
    lane.round()
    (entry,) = lane.answers
    assert (entry.cost_usd, entry.flags) == (held.amount_usd, ("ambiguous",))
    assert lane.kinds == {"a": "succeeded"}


@pytest.mark.parametrize("error", [LOST, failing(500), failing(502)])
def test_a_batch_whose_creation_is_in_doubt_is_found_and_never_created_again(error: UpstreamError) -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.batches.create_fails.append(error)
    lane.batches.ended = False
    for _ in range(60):
        lane.round()
    assert (len(lane.batches.made), lane.store.waiting) == (1, []), "better late than double"
    lane.batches.ended = True
    lane.round()
    lane.round()
    assert lane.kinds == {"a": "succeeded", "b": "succeeded"}
    assert (len(lane.batches.made), len(lane.answers)) == (1, 2)


def test_a_batch_of_somebody_else_that_looks_the_same_is_not_taken_for_ours() -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.batches.create_fails.append(LOST)
    lane.round()
    for _ in range(2):
        run(lane.batches.create([("theirs-1", b"{}"), ("theirs-2", b"{}")], 1.0))
    lane.round()
    lane.round()
    assert lane.batch.upstream_id == "msgbatch_1"
    assert lane.kinds == {"a": "succeeded", "b": "succeeded"}


def test_a_batch_that_never_arrived_is_packed_anew_when_that_is_certain() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.dies = True
    with pytest.raises(Killed):
        lane.round()
    lane.batches.dies = False
    assert lane.batch.state is State.CREATING
    lane.round(after=LEASE - MINUTE)
    assert lane.store.waiting == []
    lane.round(after=CERTAIN - LEASE)
    assert lane.batches.made == {}
    lane.round(after=2 * MINUTE)
    lane.round()
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "succeeded"}, 1)
    assert lane.world.ledger.open == {}


@pytest.mark.parametrize(
    "error",
    [limited(429), limited(529), UpstreamError(Failure.CONNECTION), rejected(403), rejected(400, account=True)],
)
def test_a_batch_that_was_certainly_not_created_is_packed_anew(error: UpstreamError) -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.create_fails.append(error)
    lane.round()
    assert (lane.store.waiting, lane.world.ledger.open) == (["g/a"], {})
    lane.round()
    lane.round()
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "succeeded"}, 1)


def test_a_batch_that_claude_refuses_fails_its_lines() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.create_fails.append(rejected(400))
    lane.round()
    assert (lane.kinds, lane.store.waiting, lane.world.ledger.open) == ({"a": "errored"}, [], {})
    assert lane.store.closed == [lane.batch.marker]


def test_a_line_that_claude_refuses_does_not_take_the_others_of_its_batch_with_it() -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.batches.create_fails.extend([rejected(400), rejected(400)])
    lane.round()
    assert (lane.kinds, len(lane.batches.made)) == ({"a": "errored"}, 1)
    lane.round()
    assert (lane.kinds, lane.world.ledger.open) == ({"a": "errored", "b": "succeeded"}, {})


def test_a_refused_batch_is_not_submitted_again_for_a_tenant_disabled_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lane = Lane(tenant("acme"), tenant("gone"))
    lane.drop("g", tenant="gone")
    lane.drop("a", tenant="acme")
    create = lane.batches.create

    async def create_after(lines: Sequence[tuple[str, bytes]], seconds: float) -> Any:
        lane.policies.found.pop("gone", None)
        return await create(lines, seconds)

    monkeypatch.setattr(lane.batches, "create", create_after)
    lane.batches.create_fails.append(rejected(400))
    lane.round()
    assert (lane.store.waiting, [len(lines) for _, lines in lane.batches.made.values()]) == (["g/g"], [1])


def test_nothing_is_moved_while_claude_cannot_be_reached() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.down = True
    lane.round()
    assert (lane.store.waiting, lane.store.all_batches) == (["g/a"], {})
    assert [event for event, _ in lane.world.telemetry.notes] == ["batch_waits"]


@pytest.mark.parametrize("step", ["begin", "join", "move to creating", "move to created", "done", "part", "close"])
def test_a_collector_that_dies_at_any_step_leaves_work_and_no_damage(step: str) -> None:
    lane = Lane()
    lane.drop("a", "b", "c")
    lane.batches.outcomes[lane.request_id("b")] = errored("api_error")
    lane.store.dies = {step}
    died = 0
    for _ in range(3):
        try:
            lane.round()
        except Killed:
            died += 1
    assert died
    lane.store.dies = set()
    for _ in range(4):
        lane.round(after=CERTAIN)
    assert lane.kinds == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert sorted(entry.request_id for entry in lane.answers) == sorted(lane.request_id(name) for name in "abc")
    assert [lane.batches.submitted.count(lane.request_id(name)) for name in "ac"] == [1, 1]
    assert (lane.world.ledger.open, lane.store.waiting) == ({}, [])


def test_what_was_settled_but_not_delivered_is_delivered_later_and_booked_once() -> None:
    lane = Lane()
    lane.drop("a")
    lane.round()
    lane.world.results.failing_puts = 1
    with pytest.raises(StoreError, match="put_object"):
        lane.round()
    assert (len(lane.answers), lane.results) == (1, {})
    lane.round()
    assert (len(lane.answers), lane.kinds) == (1, {"a": "succeeded"})


def test_results_that_are_cut_are_read_again_and_each_line_is_settled_once() -> None:
    lane = Lane()
    lane.drop("a", "b", "c")
    lane.round()
    lane.batches.cut_after = 2
    lane.round()
    lane.round()
    assert (len(lane.kinds), len(lane.answers)) == (3, 3)
    assert lane.store.closed == [lane.batch.marker]


def test_results_that_end_early_without_an_error_lose_no_line() -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.round()
    seen, lines = lane.batches.made["msgbatch_1"]
    lane.batches.made["msgbatch_1"] = (seen, lines[:1])
    lane.round()
    assert (len(lane.kinds), lane.store.closed) == (1, [])
    lane.batches.made["msgbatch_1"] = (seen, lines)
    lane.round(after=dt.timedelta(minutes=15))
    assert (len(lane.kinds), len(lane.answers), lane.store.closed) == (2, 2, [lane.batch.marker])


def test_a_batch_that_never_ends_is_booked_as_ambiguous_and_reversed_when_it_ends_after_all() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.ended = False
    lane.round()
    (held,) = lane.world.ledger.open.values()
    lane.world.clock.at = held.at + HELD_FOR
    lane.sweep()
    assert lane.answers == []
    lane.world.clock.advance(1)
    lane.sweep()
    assert [(entry.cost_usd, entry.flags) for entry in lane.answers] == [(held.amount_usd, ("ambiguous", "swept"))]
    lane.batches.ended = True
    lane.round()
    assert lane.kinds == {"a": "succeeded"}
    assert sum(entry.cost_usd for entry in lane.answers) == Decimal("0.000085")


def test_a_batch_without_results_for_29_days_fails_its_jobs() -> None:
    lane = Lane()
    lane.drop("a")
    lane.batches.ended = False
    lane.round()
    lane.round(after=KEPT + MINUTE)
    assert lane.kinds == {"a": "errored"}
    assert [entry.flags for entry in lane.answers] == [("ambiguous",)]
    assert lane.store.closed == [lane.batch.marker]


def test_a_store_that_is_down_fails_the_round_and_the_next_one_goes_on() -> None:
    lane = Lane()
    lane.drop("a")
    lane.store.down = True
    with pytest.raises(StoreError):
        lane.round()
    lane.store.down = False
    lane.round()
    lane.round()
    assert lane.kinds == {"a": "succeeded"}


def test_a_line_whose_body_is_gone_fails_and_the_others_go() -> None:
    lane = Lane()
    lane.drop("a", "b")
    lane.store.bodies.pop(lane.request_id("a"))
    lane.round()
    lane.round()
    assert lane.kinds == {"a": "errored", "b": "succeeded"}
    assert lane.world.ledger.open == {}


def test_more_lines_than_a_batch_takes_go_into_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost_router.core.batch_choosing.MOST_LINES", 2)
    lane = Lane()
    lane.drop(*"abcde")
    lane.round()
    assert [len(lines) for _, lines in lane.batches.made.values()] == [2, 2, 1]
    assert len({custom_id for _, lines in lane.batches.made.values() for custom_id, _ in lines}) == 5
