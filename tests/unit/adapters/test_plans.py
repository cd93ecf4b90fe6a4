"""How requests are decided, read from an emulated table: what cannot be read leaves what was in force."""

import asyncio
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.adapters.plans import DynamoPlans, Makers
from cost_router.contract import Table
from cost_router.core.arms import Arm, Plan
from cost_router.core.ask import Ask
from cost_router.core.words import Label
from cost_router.handlers import wiring
from tests.builders import FakeClock, RecordingTelemetry, catalogue, lineup, run
from tests.unit.adapters.tables import make_table

CONTROL = Arm("control", lineup(), wiring.rubric(wiring.data("rubric.json")))
CANARY = {"mode": "canary", "percent": 100, "lineup": "article"}


@dataclass(frozen=True)
class Local:
    """A local model that was made of some content; none is the shipped one."""

    content: object

    @property
    def version(self) -> str:
        return str(self.content)

    def label(self, _ask: Ask) -> Label | None:
        return None


def local(content: Mapping[str, Any] | None) -> Local:
    if content is not None and "weights" not in content:
        raise ValueError("no weights")
    return Local(content)


class Counting(Aws):
    """Clients that are counted; `down`: they reach nobody."""

    calls = 0

    async def call(self, service: str, operation: str, **arguments: Any) -> Any:
        self.calls += 1
        return await super().call(service, operation, **arguments)


@pytest.fixture
def plans(aws: Aws) -> DynamoPlans:
    makers = Makers(wiring.makers(catalogue()).lineup, wiring.makers(catalogue()).rubric, local)
    return DynamoPlans(
        Counting(), make_table(aws, Table.TENANTS_KEY), FakeClock(), RecordingTelemetry(), CONTROL, makers
    )


def put(plans: DynamoPlans, settings: object) -> None:
    text = settings if isinstance(settings, str) else json.dumps(settings)
    item = {"pk": {"S": "routing"}, "settings": {"S": text}}
    plans.aws.client("dynamodb").put_item(TableName=plans.table, Item=item)


def put_model(plans: DynamoPlans, id_: str, content: bytes) -> None:
    item = {"pk": {"S": f"preclassifier#{id_}"}, "model": {"B": content}}
    plans.aws.client("dynamodb").put_item(TableName=plans.table, Item=item)


def current(plans: DynamoPlans) -> Plan:
    return run(plans.current())


def a_minute_later(plans: DynamoPlans) -> Plan:
    assert isinstance(plans.clock, FakeClock)
    plans.clock.advance(60)
    return current(plans)


def noted(plans: DynamoPlans) -> list[str]:
    assert isinstance(plans.telemetry, RecordingTelemetry)
    assert {event for event, _ in plans.telemetry.notes} <= {"routing_settings_failed"}
    return [str(fields["error"]) for _, fields in plans.telemetry.notes]


def test_without_settings_everything_is_the_control(plans: DynamoPlans) -> None:
    assert current(plans) == Plan(CONTROL)
    assert noted(plans) == []


def test_settings_and_what_they_name_become_a_plan(plans: DynamoPlans) -> None:
    put_model(plans, "abc", gzip.compress(b'{"weights": []}'))
    rubric = dict(wiring.data("rubric.json")) | {"rules": ["Another rule."]}
    put(plans, {"preclassifier": "default", "candidate": {**CANARY, "rubric": rubric, "preclassifier": "abc"}})
    plan = current(plans)
    assert plan.control == Arm("control", CONTROL.lineup, CONTROL.rubric, Local(None))
    assert plan.candidate is not None
    assert (plan.candidate.name, plan.candidate.lineup.name) == ("candidate", "article")
    assert plan.candidate.preclassifier == Local({"weights": []})
    assert plan.candidate.rubric.system.endswith("Another rule.")
    assert plan.candidate.rubric.version != CONTROL.rubric.version, "the same version, and yet other labels"


def test_what_a_candidate_does_not_name_is_the_controls(plans: DynamoPlans) -> None:
    put(plans, {"preclassifier": "default", "candidate": CANARY})
    candidate = current(plans).candidate
    assert candidate is not None
    assert (candidate.rubric, candidate.preclassifier) == (CONTROL.rubric, Local(None))
    put(plans, {"preclassifier": "default", "candidate": {**CANARY, "preclassifier": "none"}})
    candidate = a_minute_later(plans).candidate
    assert candidate is not None
    assert candidate.preclassifier is None


def test_a_change_is_in_force_after_sixty_seconds_and_read_once_until_then(plans: DynamoPlans) -> None:
    assert current(plans).candidate is None
    put(plans, {"candidate": CANARY})
    assert isinstance(plans.clock, FakeClock)
    plans.clock.advance(59.9)
    assert current(plans).candidate is None
    assert isinstance(plans.aws, Counting)
    assert plans.aws.calls == 1
    plans.clock.advance(0.1)
    assert current(plans).candidate is not None
    put(plans, {})
    assert a_minute_later(plans).candidate is None


MALFORMED = [
    "{",
    "[]",
    "null",
    "[" * 100_000,
    {"candidate": {"mode": "canary"}},
    {"rules_off": ["gone"]},
    {"candidate": {**CANARY, "lineup": "newest"}},
    {"candidate": {**CANARY, "rubric": {}}},
    {"candidate": {**CANARY, "rubric": {"version": "1", "intro": "text", "labels": {}, "rules": []}}},
    {"preclassifier": "unknown"},
    {"preclassifier": "no-gzip"},
    {"preclassifier": "cut"},
    {"preclassifier": "no-json"},
    {"preclassifier": "no-model"},
    {"preclassifier": "no-object"},
]


@pytest.mark.parametrize("settings", MALFORMED, ids=lambda value: str(value)[:60])
def test_malformed_settings_leave_the_last_plan_in_force_and_are_noted(plans: DynamoPlans, settings: object) -> None:
    put_model(plans, "no-gzip", b"weights")
    put_model(plans, "cut", gzip.compress(b'{"weights": []}')[:-9])
    put_model(plans, "no-json", gzip.compress(b"{"))
    put_model(plans, "no-model", gzip.compress(b"{}"))
    put_model(plans, "no-object", gzip.compress(b"7"))
    put(plans, {"candidate": CANARY, "sessions": False})
    before = current(plans)
    put(plans, settings)
    assert a_minute_later(plans) == before
    assert len(noted(plans)) == 1
    a_minute_later(plans)
    assert len(noted(plans)) == 2, "as long as it is so"
    put(plans, {})
    assert a_minute_later(plans).candidate is None


def test_malformed_settings_at_the_start_are_as_none_and_are_not_read_for_every_request(plans: DynamoPlans) -> None:
    put(plans, "{")
    assert [current(plans), current(plans)] == [Plan(CONTROL)] * 2
    assert len(noted(plans)) == 1


def test_a_model_that_comes_later_than_its_settings_is_found(plans: DynamoPlans) -> None:
    put(plans, {"preclassifier": "abc"})
    assert current(plans).control.preclassifier is None
    assert noted(plans) == ["ValueError: preclassifier 'abc' is not in the table"]
    put_model(plans, "abc", gzip.compress(b'{"weights": [1]}'))
    assert a_minute_later(plans).control.preclassifier == Local({"weights": [1]})


def test_a_store_that_is_down_leaves_the_last_plan_in_force(plans: DynamoPlans) -> None:
    put(plans, {"candidate": CANARY})
    before = current(plans)
    table, plans.table = plans.table, "table-of-nobody"
    assert a_minute_later(plans) == before
    assert noted(plans) == ["StoreError: dynamodb.get_item: ResourceNotFoundException"]
    plans.table = table
    put(plans, {})
    assert a_minute_later(plans).candidate is None


def test_whoever_comes_first_waits_and_whoever_comes_while_it_is_read_anew_does_not(plans: DynamoPlans) -> None:
    put(plans, {"candidate": CANARY})

    async def both() -> list[Plan]:
        return list(await asyncio.gather(plans.current(), plans.current()))

    assert [plan.candidate is not None for plan in run(both())] == [True, True]
    put(plans, {})
    assert isinstance(plans.clock, FakeClock)
    plans.clock.advance(60)
    assert [plan.candidate is not None for plan in run(both())] == [False, True]
