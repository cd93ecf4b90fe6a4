"""A judging run: routed answers against the next tier up, by way of the bulk lane at half the price.

Everything stands in one folder: what was picked, the jobs of both steps and their results. The same command with the
same folder goes on where it stopped; what was submitted is not paid for again.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cost_router.core import guards
from cost_router.core.errors import InvalidRequest
from cost_router.core.job_results import spent_in
from cost_router.core.ledger import JUDGE
from cost_router.core.request import Tenant
from cost_router.core.words import Tier
from infra.operate.judging import FIRST, SECOND, Judged, can_be_judged, combined, question, read_verdict, text_of

PAIRS, ANSWER_JOBS, ANSWERS = "pairs.jsonl", "answers.jobs.jsonl", "answers.jsonl"
VERDICT_JOBS, VERDICTS = "verdicts.jobs.jsonl", "verdicts.jsonl"
JUDGE_TIER: Final = Tier.SONNET
NOBODY: Final = Tenant("judge", b"")  # a tenant without permissions
ORDERS: Final = (FIRST, SECOND)  # the place of the routed answer
Json = Mapping[str, Any]
# Submits a file of jobs to a group, waits until all have ended, and writes their results to a file.
Lane = Callable[[Path, str, Path], None]


class JudgeProblem(RuntimeError):
    """Nothing can be judged; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A routed answer that is to be compared. weight: how many requests of the traffic it stands for."""

    id: str
    params: Json
    answer: str
    label: str | None
    cause: str
    tier: Tier
    weight: float = 1.0

    @property
    def above(self) -> Tier:
        """The tier whose answer it is compared with."""
        return Tier(self.tier + 1)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run. cost_usd: of all its calls; undecided: pairs without two verdicts."""

    pairs: tuple[Pair, ...]
    judged: tuple[Judged, ...]
    undecided: int
    cost_usd: Decimal


def pairs_of(documents: Iterable[Json], most: int) -> list[Pair]:
    """The first `most` samples of the store that can be judged: answered below opus, and about text."""
    found = (pair for document in documents if (pair := _pair(document)))
    return [pair for pair, _ in zip(found, range(most), strict=False)]


def judge(folder: Path, pick: Callable[[], Iterable[Pair]], lane: Lane, name: str) -> Run:
    """Run both steps, or what is left of them, in `folder`.

    pick: what to judge, asked once. lane: how jobs are run. name: what the groups are called. Raises `JudgeProblem`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _once(folder / PAIRS, lambda: map(_told, pick()))
    pairs = [_read(row) for row in lines(folder / PAIRS)]
    if not pairs:
        (folder / PAIRS).unlink()
        raise JudgeProblem(
            "no sample can be judged: none was answered below opus, from text alone; accepted: a store with some "
            "(cdk deploy -c sample_percent=5), or more --days"
        )
    _once(folder / ANSWER_JOBS, lambda: map(_answer_job, pairs))
    if not (folder / ANSWERS).is_file():
        lane(folder / ANSWER_JOBS, f"{name}-answers", folder / ANSWERS)
    higher = {row["custom_id"]: text_of(message) for row in lines(folder / ANSWERS) if (message := message_in(row))}
    both = [pair for pair in pairs if pair.answer and higher.get(pair.id)]
    if not both:
        raise JudgeProblem(
            f"none of the {len(pairs)} requests was answered by the next tier; {folder / ANSWERS} says why"
        )
    _once(folder / VERDICT_JOBS, lambda: _verdict_jobs(both, higher))
    if not (folder / VERDICTS).is_file():
        lane(folder / VERDICT_JOBS, f"{name}-verdicts", folder / VERDICTS)
    said = {row["custom_id"]: message_in(row) for row in lines(folder / VERDICTS)}
    judged = [found for pair in both if (found := _judged(pair, said))]
    cost = sum((spent_in(row).cost_usd for row in _results(folder)), Decimal(0))
    return Run(tuple(pairs), tuple(judged), len(pairs) - len(judged), cost)


def message_in(result: Json) -> Json | None:
    """Claude's message in the result of a job; None when it has none."""
    inner = result.get("result", {})
    return inner["message"] if inner.get("type") == "succeeded" else None


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream if line.strip()]


def _pair(document: Json) -> Pair | None:
    routed, params = document["routed"], document["params"]
    if routed.get("tier") not in (Tier.HAIKU.word, Tier.SONNET.word) or not can_be_judged(params):
        return None
    answer = text_of(document["answer"])
    tier, weight, cause = Tier.parse(routed["tier"]), document.get("weight", 1.0), str(routed.get("cause"))
    if not answer or not _needs_no_permission(params):
        return None
    return Pair(document["id"], params, answer, routed.get("label"), cause, tier, weight)


def _needs_no_permission(params: Json) -> bool:
    """Whether any tenant may send the request: what multiplies the bill is not bought a second time."""
    try:
        guards.check(params, NOBODY)
    except InvalidRequest:
        return False
    return True


def _told(pair: Pair) -> Json:
    names = ("id", "params", "answer", "label", "cause", "weight")
    return {**{name: getattr(pair, name) for name in names}, "tier": pair.tier.word}


def _read(row: Json) -> Pair:
    return Pair(**{**row, "tier": Tier.parse(row["tier"])})


def _answer_job(pair: Pair) -> Json:
    """The same request, pinned to the next tier up; a job has one result, so it does not stream."""
    params = {name: value for name, value in pair.params.items() if name != "stream"}
    return {"custom_id": pair.id, "params": {**params, "model": pair.above.word}, "router": {"purpose": JUDGE}}


def _verdict_jobs(pairs: Iterable[Pair], higher: Mapping[str, str]) -> Iterator[Json]:
    for pair in pairs:
        for place in ORDERS:
            answers = (pair.answer, higher[pair.id])
            first, second = answers if place == FIRST else answers[::-1]
            params = {"model": JUDGE_TIER.word, **question(pair.params, first, second, secrets.token_hex(12))}
            yield {"custom_id": f"{pair.id}-{place}", "params": params, "router": {"purpose": JUDGE}}


def _judged(pair: Pair, said: Mapping[str, Json | None]) -> Judged | None:
    verdicts = [(place, said.get(f"{pair.id}-{place}")) for place in ORDERS]
    return combined(pair.id, [found for place, told in verdicts if told and (found := read_verdict(told, place))])


def _results(folder: Path) -> Iterator[Json]:
    yield from lines(folder / ANSWERS)
    yield from lines(folder / VERDICTS)


def _once(path: Path, make: Callable[[], Iterable[Json]]) -> None:
    """Make a file unless it is there: whole, or not at all."""
    if path.is_file():
        return
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in make())
    part.replace(path)
