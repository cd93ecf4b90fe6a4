"""Picks requests of a deployment's own traffic for people to label, from the samples that it has kept.

The same ask is picked once, however often it came. Asks are picked by strata, as many of each as of any other while
there are enough, so that rare labels are there. A line's weight says how many of the kept requests it stands for:

    times the ask came * asks of its stratum / picked asks of its stratum * requests listed / requests read

so that a mean weighted by it is the traffic's (Horvitz-Thompson). Of a large store a random part is read.
"""

import datetime as dt
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from cost_router.adapters.kept import MISSING
from cost_router.contract import SAMPLES_PREFIX
from cost_router.core.ask import read_ask
from infra.operate.target import Target

T = TypeVar("T")
BY: Final = ("label", "tier", "model", "cause", "arm", "tenant", "none")
KEPT_DAYS: Final = 30  # the bucket forgets what is older
MOST: Final = 100_000  # lines
READ_FOR_EACH: Final = 25  # requests read for each that is asked for, at the most
READ_AT_LEAST: Final = 5_000
AT_A_TIME: Final = 50  # bodies in memory
THREADS: Final = 10  # boto3's clients have ten connections
ROUTED: Final = ("label", "cause", "tier", "model", "cost_usd")
NONE: Final = "(none)"
TURN_ON: Final = "deploy with -c sample_percent=5, say, to keep 5 % of the requests with model auto"


class NoSamples(ValueError):
    """Nothing can be picked; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `cost-router sample`, in the words of the command."""

    n: int = 200
    days: int = 7
    by: str = "label"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept request, as far as picking needs it: bodies are too large to hold many of them."""

    key: str  # of its object
    stratum: str
    ask: str  # the same for all requests that ask the same


@dataclass(frozen=True, slots=True)
class Stratum:
    """What is told of a stratum."""

    key: str
    requests: int
    asks: int
    picked: int


@dataclass(frozen=True, slots=True)
class Pick:
    """What was picked. weights: by key of the object; listed: requests in the store; read: of them."""

    weights: Mapping[str, float]
    strata: Sequence[Stratum]
    listed: int
    read: int


def pick(target: Target, asked: Asked, now: dt.datetime) -> Pick:
    """A sample of what the deployment has kept in the last days, today's too; raises `NoSamples`."""
    _check(asked)
    keys = [key for day in _days(asked.days, now.date()) for key in _keys(target, day)]
    if not keys:
        raise NoSamples(_nothing(target, asked.days))
    chance = random.Random(asked.seed)  # noqa: S311  a sample that can be drawn again, nothing secret
    chosen = chance.sample(keys, min(len(keys), max(READ_AT_LEAST, READ_FOR_EACH * asked.n)))
    found = _read_all(target, chosen, lambda key, content: kept_in(key, content, asked.by))
    kept = [one for one in found if one is not None]
    if not kept:
        raise NoSamples(f"none of the {len(keys)} objects under {SAMPLES_PREFIX}/ of the bucket is a sample")
    return draw(kept, asked.n, chance, listed=len(keys))


def draw(kept: Sequence[Kept], n: int, chance: random.Random, *, listed: int) -> Pick:
    """`n` of the requests that were read, or one for each ask when there are fewer; `listed`: they stand for these."""
    asks: dict[str, list[Kept]] = defaultdict(list)
    for one in kept:
        asks[one.ask].append(one)
    strata: dict[str, list[list[Kept]]] = defaultdict(list)
    for same in asks.values():
        strata[same[0].stratum].append(same)
    picked, told = [], []
    for key, share in allotted({key: len(found) for key, found in strata.items()}, n).items():
        found = strata[key]
        for same in chance.sample(found, share):
            weight = len(same) * len(found) / share * listed / len(kept)
            picked.append((same[0].key, round(weight, 6)))
        told.append(Stratum(key, sum(map(len, found)), len(found), share))
    chance.shuffle(picked)  # who labels one stratum after the other soon labels by habit
    return Pick(dict(picked), told, listed, len(kept))


def allotted(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """How many of `n` each stratum gives: the same, and what a small one has not goes to the others."""
    found, left = {}, n
    for place, (key, size) in enumerate(sorted(sizes.items(), key=lambda pair: (pair[1], pair[0]))):
        found[key] = min(size, left // (len(sizes) - place))
        left -= found[key]
    return {key: share for key, share in sorted(found.items()) if share}


def write_lines(target: Target, made: Pick, file: Path) -> int:
    """Write what was picked to a file, for this user only: it holds prompts. Gives its lines; raises `NoSamples`."""
    count, keys = 0, list(made.weights)
    try:
        file.touch(mode=0o600)
        with file.open("w", encoding="utf-8") as stream:
            for place in range(0, len(keys), AT_A_TIME):
                some = keys[place : place + AT_A_TIME]
                for line in _read_all(target, some, lambda key, content: line_of(content, made.weights[key])):
                    stream.write(json.dumps(line) + "\n")
                    count += 1
    except OSError as error:
        raise NoSamples(f"out {str(file)!r} cannot be written: {error.strerror}") from error
    return count


def documents(target: Target, made: Pick) -> Iterator[dict[str, Any]]:
    """What was picked, as it was kept, answers too, each with its `weight`."""
    read = _read_all(target, list(made.weights), lambda key, content: (key, content))
    yield from ({**json.loads(content), "weight": made.weights[key]} for key, content in read)


def line_of(content: bytes, weight: float) -> dict[str, Any]:
    """The line of a stored sample; without its answer, which would tell how hard the ask was taken to be."""
    value = json.loads(content)
    routed = {name: value["routed"].get(name) for name in ROUTED}
    return {"id": value["id"], "params": value["params"], "label": None, "routed": routed, "weight": weight}


def _check(asked: Asked) -> None:
    for name, value, most in (("n", asked.n, MOST), ("days", asked.days, KEPT_DAYS)):
        if not 1 <= value <= most:
            raise NoSamples(f"{name} {value}; accepted: 1 to {most}")
    if asked.by not in BY:
        raise NoSamples(f"by {asked.by!r}; accepted: {', '.join(BY)}")


def _nothing(target: Target, days: int) -> str:
    if target.sample_percent:
        return (
            f"no request was kept in the last {days} days, though {target.sample_percent} % of those with model auto "
            "are: none was answered, or their senders opted out (x-router-sample: off)"
        )
    return f"deployment {target.name} keeps no samples, and has none of the last {days} days; {TURN_ON}"


def _days(count: int, today: dt.date) -> list[str]:
    return [(today - dt.timedelta(days=back)).isoformat() for back in range(count)]


def _keys(target: Target, day: str) -> Iterator[str]:
    pages = target.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=target.results_bucket, Prefix=f"{SAMPLES_PREFIX}/{day}/"):
        for entry in page.get("Contents", ()):
            yield entry["Key"]


def _read_all(target: Target, keys: Sequence[str], made: Callable[[str, bytes], T]) -> Iterator[T]:
    """What `made` makes of the objects under keys, in that order; without those that were deleted meanwhile."""
    s3 = target.client("s3")

    def read(key: str) -> list[T]:
        try:
            return [made(key, s3.get_object(Bucket=target.results_bucket, Key=key)["Body"].read())]
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return []
            raise

    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(read, keys):
            yield from found


def kept_in(key: str, content: bytes, by: str) -> Kept | None:
    """The request in a stored sample; None when it is none of ours."""
    try:
        value = json.loads(content)
        ask = read_ask(value["params"])
        stratum = value["tenant"] if by == "tenant" else value["routed"].get(by)
        same = json.dumps([value["tenant"], ask.text, str(ask.digest)])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return Kept(key, str(stratum or NONE), hashlib.sha256(same.encode()).hexdigest())
