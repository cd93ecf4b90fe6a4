"""Groups: when one is finished, and that none holds up another on the way into a batch."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal

import pytest

from cost_router.core.budget import Limits
from cost_router.core.groups import QUIET, SHARDS, Group, GroupState, Tally, in_turn, is_finished, queue_group, shard_of
from tests.builders import NOW, message_body, run, tenant
from tests.unit.core.test_batch_lane import Lane

SECOND = dt.timedelta(seconds=1)


def group(name: str = "g", owner: str = "acme", *, expected: int | None = None, seen: dt.datetime = NOW) -> Group:
    return Group(name, owner, GroupState.RUNNING, NOW, seen, expected)


@pytest.mark.parametrize(
    ("expected", "tally", "finished"),
    [
        (10, Tally(started=9, done=9), False),
        (10, Tally(started=10, done=10), True),
        (10, Tally(started=11, done=11), True),
        (10, Tally(started=10, done=4, failed=3, canceled=3), True),
        (10, Tally(started=10, done=9), False),
        (10, Tally(started=11, done=10), False),
        (1, Tally(), False),
    ],
)
def test_an_announced_group_is_finished_when_so_many_jobs_have_ended_and_none_runs(
    expected: int,
    tally: Tally,
    finished: bool,  # noqa: FBT001  a column
) -> None:
    assert is_finished(group(expected=expected), tally, NOW) is finished


@pytest.mark.parametrize(
    ("tally", "quiet", "finished"),
    [
        (Tally(started=3, done=3), QUIET, True),
        (Tally(started=3, done=3), QUIET - SECOND, False),
        (Tally(started=3, done=2), QUIET + SECOND, False),
        (Tally(), QUIET, False),
        (Tally(started=1, canceled=1), QUIET, True),
    ],
)
def test_a_group_that_nobody_announced_is_finished_when_all_have_ended_and_none_came_for_five_minutes(
    tally: Tally,
    quiet: dt.timedelta,
    finished: bool,  # noqa: FBT001  a column
) -> None:
    assert dt.timedelta(minutes=5) == QUIET
    assert is_finished(group(), tally, NOW + quiet) is finished


def turns(lines: Mapping[str, Sequence[str]], owners: dict[str, str], most: int = 1_000) -> list[str]:
    """The order in which the lines of groups come."""

    async def of(found: Group) -> AsyncIterator[str]:
        for line in lines[found.name]:
            yield f"{found.name}{line}"

    async def take() -> list[str]:
        taken: list[str] = []
        async for _, line in in_turn([group(name, owner) for name, owner in owners.items()], of):
            taken.append(line)
            if len(taken) == most:
                break
        return taken

    return run(take())


def test_groups_of_one_tenant_give_a_line_each_in_turn_and_the_longer_one_goes_on_alone() -> None:
    assert turns({"a": "1234", "b": "12"}, {"a": "acme", "b": "acme"}) == ["a1", "b1", "a2", "b2", "a3", "a4"]


def test_tenants_take_turns_before_groups_do() -> None:
    """Whoever has three groups gets no more than whoever has one."""
    lines = {"a": "12", "b": "12", "c": "12", "z": "123456"}
    owners = {"a": "acme", "b": "acme", "c": "acme", "z": "zeta"}
    assert turns(lines, owners) == ["a1", "z1", "b1", "z2", "c1", "z3", "a2", "z4", "b2", "z5", "c2", "z6"]


@pytest.mark.parametrize("lines", [{"a": "", "b": "1"}, {"a": "1", "b": ""}])
def test_a_group_without_lines_is_passed_over_in_the_same_turn(lines: dict[str, str]) -> None:
    assert len(turns(lines, {"a": "acme", "b": "acme"})) == 1
    assert len(turns(lines, {"a": "acme", "b": "zeta"})) == 1
    assert turns({}, {}) == []


@pytest.mark.parametrize(("place", "size"), [(0, 500), (1, 500), (2, 500)])
def test_no_line_is_lost_or_given_twice(place: int, size: int) -> None:
    lines = {name: [str(number) for number in range(size // (at + 1))] for at, name in enumerate("abc")}
    owners = {name: "acme" if at == place else "zeta" for at, name in enumerate("abc")}
    taken = turns(lines, owners)
    assert len(taken) == len(set(taken)) == 500 + 250 + 166


def test_a_message_group_names_tenant_and_group_within_128_characters() -> None:
    assert queue_group("acme", "nightly") == "acme.nightly"
    assert len(queue_group("t" * 64, "g" * 64)) == 128


def test_jobs_are_spread_over_the_parts_of_the_counts() -> None:
    assert {shard_of(f"job-{number}") for number in range(100)} == set(range(SHARDS))


# -- What the chooser makes of it --------------------------------------------------------------------------------------


def in_batches(lane: Lane) -> list[dict[str, int]]:
    """How many lines of which group each batch has."""
    found: list[dict[str, int]] = []
    where = {line.request_id: line.group for _, line in lane.store.lines.values()}
    for _, lines in lane.batches.made.values():
        counts: dict[str, int] = {}
        for custom_id, _ in lines:
            name = where[custom_id.partition("-")[2]]
            counts[name] = counts.get(name, 0) + 1
        found.append(counts)
    return found


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def test_all_lines_of_a_small_group_are_in_the_next_batch_beside_a_huge_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cost_router.core.batch_choosing.MOST_LINES", 20)
    lane = Lane()
    lane.drop(*names("huge", 60), group="huge")
    lane.drop(*names("small", 10), group="small")
    lane.round()
    assert in_batches(lane)[0] == {"huge": 10, "small": 10}
    assert sum(sum(counts.values()) for counts in in_batches(lane)) == 70


def test_a_tenant_with_many_groups_leaves_half_of_the_next_batch_to_one_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cost_router.core.batch_choosing.MOST_LINES", 20)
    lane = Lane(tenant("acme"), tenant("zeta"))
    for place in range(9):
        lane.drop(*names("many", 5), group=f"many-{place}", tenant="acme")
    lane.drop(*names("one", 10), group="one", tenant="zeta")
    lane.round()
    assert in_batches(lane)[0]["one"] == 10


@pytest.mark.parametrize(("refused", "looked_at"), [(3, 3), (4, 4)])
def test_a_group_whose_budget_covers_nothing_is_dropped_for_the_round_and_others_go_on(
    refused: int, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cost_router.core.batch_choosing.MOST_REFUSED", refused)
    lane = Lane(tenant("poor"), tenant("acme"), budget=None)
    body = message_body(model="haiku")
    lane.drop(*names("p", 20), group="p", tenant="poor", params=body)
    lane.drop(*names("a", 20), group="a", tenant="acme", params=body)
    lane.policies.found["poor"] = Limits(daily_usd=Decimal("0.0000001"))
    lane.round()
    assert in_batches(lane) == [{"a": 20}]
    noted = [fields for event, fields in lane.world.telemetry.notes if event == "batch_lines_wait"]
    assert noted == [{"lines": looked_at}]
    lane.policies.found["poor"] = Limits()
    lane.round()
    assert in_batches(lane)[1:] == [{"p": 20}]


def test_a_line_that_is_covered_starts_the_count_of_those_that_are_not_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a dear line and a cheap one in turn, all the cheap ones go."""
    monkeypatch.setattr("cost_router.core.batch_choosing.MOST_REFUSED", 2)
    lane = Lane(tenant("poor"), budget=None)
    for place in range(6):
        lane.drop(f"dear-{place}", tenant="poor", params=message_body(model="opus", max_tokens=100_000))
        lane.drop(f"cheap-{place}", tenant="poor", params=message_body(model="haiku"))
    lane.policies.found["poor"] = Limits(daily_usd=Decimal("0.01"))
    lane.round()
    assert in_batches(lane) == [{"g": 6}]
    assert all("dear" in job for job in lane.store.waiting)
