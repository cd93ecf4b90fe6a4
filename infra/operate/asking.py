"""The dry run of many requests: each is asked at `POST /v1/route`, several at a time, within a cap on dollars.

A dry run decides as for a real request, pays the classifier and books it, and answers nothing.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx2

from cost_router.adapters.system import SystemChance
from cost_router.core.backoff import full_jitter
from cost_router.core.errors import quoted
from cost_router.core.words import Label, Tier

TRIES: Final = 3
PASSING: Final = frozenset({429, 500, 502, 503, 504, 529})
REFUSED_FOR_ALL: Final = frozenset({401, 403})
MANY_FAILURES: Final = 10  # in a row: the deployment is out of order
PATIENCE: Final = 60.0  # seconds
OK: Final = 200


class NotRouted(RuntimeError):
    """This request got no decision; the message says why."""


class Stopped(RuntimeError):
    """No request will get a decision any more: a budget, the key, the cap, or the deployment."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The decision for one request."""

    label: Label | None  # None where bounds leave one tier only, so that no label was needed
    cause: str
    tier: Tier
    cost_usd: Decimal = Decimal(0)  # of the classifier
    wall_ms: float = 0.0  # as the caller waits
    classifier_ms: float | None = None  # of the classifier's call alone


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a row of requests, in their order. None: it was not asked any more."""

    outcomes: list[Routed | NotRouted | None]
    stopped: str | None  # why not all were asked

    @property
    def routed(self) -> list[Routed]:
        """The decisions."""
        return [one for one in self.outcomes if isinstance(one, Routed)]


@dataclass(slots=True)
class Asker:
    """Asks a deployment. cap_usd: of all that it asks; likely_usd: of one call, until a dearer one has been seen."""

    client: httpx2.Client
    concurrency: int
    cap_usd: Decimal | None = None
    likely_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    fraction: Callable[[], float] = SystemChance().fraction
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: threading.Event = field(default_factory=threading.Event)
    _failures: int = 0  # in a row
    _under_way: int = 0

    def ask(
        self,
        bodies: Sequence[Mapping[str, Any]],
        *,
        cached: bool = False,
        told: Callable[[int], object] = lambda _: None,
    ) -> Asked:
        """The decisions for all bodies, or for as many as come before something ends them; Ctrl-C does, too.

        cached: whether labels may come from the cache. told: called with 1 after each.
        """
        outcomes: list[Routed | NotRouted | None] = [None] * len(bodies)
        pool, stopped = ThreadPoolExecutor(self.concurrency), None
        under_way: dict[Future[Routed], int] = {}
        ahead = list(reversed(range(len(bodies))))
        try:
            while (ahead and not stopped) or under_way:
                while ahead and not stopped and len(under_way) < self.concurrency:
                    if not self._may_begin():
                        stopped = f"the cap of ${self.cap_usd} is reached" if not under_way else None
                        break
                    place = ahead.pop()
                    under_way[pool.submit(self._one, bodies[place], cached=cached)] = place
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    place = under_way.pop(future)
                    outcomes[place], why = self._ended(future)
                    stopped = stopped or why
                    told(1)
        except KeyboardInterrupt:
            stopped = "interrupted"
        finally:
            if stopped:
                self._end.set()  # whoever waits before another try gives up
            pool.shutdown(cancel_futures=True)
        for future, place in under_way.items():  # after Ctrl-C: these were paid
            if not future.cancelled():
                outcomes[place], _ = self._ended(future)
        return Asked(outcomes, stopped)

    def _may_begin(self) -> bool:
        """Whether the cap allows one more call beside those under way, were all of them the dearest so far."""
        with self._lock:
            if self.cap_usd is not None and self.spent_usd + self.likely_usd * (self._under_way + 1) > self.cap_usd:
                return False
            self._under_way += 1
            return True

    def _ended(self, future: Future[Routed]) -> tuple[Routed | NotRouted | None, str | None]:
        """What a call gave, and why no other is to be begun."""
        self._under_way -= 1
        try:
            found = future.result()
        except Stopped as error:
            return None, str(error)
        except NotRouted as error:
            self._failures += 1
            many = self._failures >= MANY_FAILURES
            return error, f"{MANY_FAILURES} requests in a row got no decision; the last one: {error}" if many else None
        self._failures = 0
        return found, None

    def _one(self, body: Mapping[str, Any], *, cached: bool) -> Routed:
        """The decision for a body; raises `NotRouted` and `Stopped`."""
        headers = {} if cached else {"x-router-cache": "off"}
        for attempt in range(1, TRIES + 1):
            began = time.perf_counter()
            try:
                reply = self.client.post("/v1/route", json=body, headers=headers)
            except httpx2.HTTPError as error:
                why, passes = type(error).__name__, True
            else:
                wall_ms = (time.perf_counter() - began) * 1000
                self._count(reply)
                if reply.status_code == OK:
                    return _routed(reply, wall_ms)
                why, passes = _refusal(reply), reply.status_code in PASSING and "x-router-rule" not in reply.headers
            if not passes or self._end.wait(full_jitter(attempt, self.fraction())):
                break
        raise NotRouted(why)

    def _count(self, reply: httpx2.Response) -> None:
        """Add what the classifier has cost; errors tell it in a header."""
        cost = _cost(reply)
        with self._lock:
            self.spent_usd += cost
            self.likely_usd = max(self.likely_usd, cost)


def _refusal(reply: httpx2.Response) -> str:
    """Why there is no decision; raises `Stopped` where there will be none for any other request."""
    try:
        told = quoted(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        told = "no error of the router"
    said = f"status {reply.status_code}: {told}"
    rule = reply.headers.get("x-router-rule", "")
    if reply.status_code in REFUSED_FOR_ALL or rule.startswith("budget:"):
        raise Stopped(said)
    return said


def _cost(reply: httpx2.Response) -> Decimal:
    try:
        found = reply.json()["classifier_cost_usd"] if reply.status_code == OK else reply.headers["x-router-cost-usd"]
        return Decimal(found)
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return Decimal(0)


def _routed(reply: httpx2.Response, wall_ms: float) -> Routed:
    try:
        told = reply.json()
        label, spent = told["label"], told.get("classifier_ms")
        return Routed(
            label=None if label is None else Label(label),
            cause=str(told["cause"]),
            tier=Tier.parse(told["tier"]),
            cost_usd=Decimal(told["classifier_cost_usd"]),
            wall_ms=wall_ms,
            classifier_ms=None if spent is None else float(spent),  # milliseconds
        )
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise NotRouted(f"the reply is no decision: {type(error).__name__}") from None
