"""The batch lane under any interleaving of deaths, lost replies and unreachable stores: seeded, so that it repeats."""

import dataclasses
import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import pytest

from cost_router.core.batch_lane import CERTAIN
from cost_router.core.errors import Failure, StoreError, UpstreamError
from cost_router.core.ledger import AMBIGUOUS
from tests.builders import run
from tests.bulk import Killed
from tests.unit.core.test_batch_lane import Lane, errored

JOBS = 6
STREAMS = {"parked", "listed", "results"}


@dataclasses.dataclass
class Chaos:
    """Wraps an outside: each of its operations may fail, or kill the process, before or after it has its effect."""

    inner: Any
    random: random.Random
    share: list[float]  # of operations that go wrong; shared, so that the test can end it
    error: Callable[[bool], Exception]

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.inner, name)
        if name in STREAMS:
            return lambda *given, **named: self._stream(real, *given, **named)

        async def call(*given: Any, **named: Any) -> Any:
            self._maybe(after=False)
            done = await real(*given, **named)
            self._maybe(after=True)
            return done

        return call

    async def _stream(self, real: Any, *given: Any, **named: Any) -> Any:
        async for thing in real(*given, **named):
            self._maybe(after=False)
            yield thing

    def _maybe(self, *, after: bool) -> None:
        if self.random.random() < self.share[0]:
            raise self.random.choice([Killed("somewhere"), self.error(after)])


def store_error(_after: bool) -> Exception:  # noqa: FBT001
    return StoreError("dynamodb: ReadTimeoutError")


def upstream_error(after: bool) -> Exception:  # noqa: FBT001
    return UpstreamError(Failure.TIMEOUT, maybe_billed=True) if after else UpstreamError(Failure.CONNECTION)


def chaotic(seed: int) -> tuple[Lane, list[float]]:
    lane, chance, share = Lane(budget=None), random.Random(seed), [0.0]
    store = Chaos(lane.store, chance, share, store_error)
    batches = Chaos(lane.batches, chance, share, upstream_error)
    settler = dataclasses.replace(
        lane.rounds.settler,
        batches=batches,
        store=store,
        results=Chaos(lane.world.results, chance, share, store_error),
        lines=Chaos(lane.rounds.settler.lines, chance, share, store_error),
    )
    packer = dataclasses.replace(
        lane.rounds.packer,
        batches=batches,
        store=store,
        lines=settler.lines,
        settler=settler,
        chooser=dataclasses.replace(lane.rounds.packer.chooser, store=store),
    )
    lane.rounds = dataclasses.replace(lane.rounds, store=store, packer=packer, settler=settler)
    return lane, share


@pytest.mark.parametrize("seed", range(150))
def test_whatever_goes_wrong_each_job_is_paid_once_booked_once_and_delivered(seed: int) -> None:
    lane, share = chaotic(seed)
    names = [f"job-{number}" for number in range(JOBS)]
    lane.drop(*names)
    lane.batches.outcomes[lane.request_id(names[0])] = errored("overloaded_error")
    share[0] = random.Random(seed).choice([0.02, 0.05, 0.15])
    went_wrong = 0
    for _ in range(40):
        try:
            lane.round(after=dt.timedelta(minutes=5))
        except (Killed, StoreError):
            went_wrong += 1
    share[0] = 0.0
    for _ in range(6):
        lane.round(after=CERTAIN)
    assert went_wrong
    assert lane.kinds == dict.fromkeys(names, "succeeded")
    submitted = {name: lane.batches.submitted.count(lane.request_id(name)) for name in names}
    assert submitted == dict.fromkeys(names, 1) | {names[0]: 2}
    assert sorted(entry.request_id for entry in lane.answers) == sorted(lane.request_id(name) for name in names)
    assert all(AMBIGUOUS not in entry.flags for entry in lane.answers)
    assert (lane.world.ledger.open, lane.store.waiting, run(lane.store.batches())) == ({}, [], [])
