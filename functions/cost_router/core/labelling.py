"""The label of a request: from this process's memory, from the table, or from the classifier.

No failure here fails a request: a store that cannot be reached is a miss, a classifier that fails, is late or is not
asked because it has failed too often (`core/outages.py`) means `moderate` with cause `default`, which is counted and
never kept.
"""

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cost_router.core.arms import Arm
from cost_router.core.ask import Ask
from cost_router.core.calls import Caller, Patience
from cost_router.core.errors import DeadlinePassed, StoreError, UpstreamError
from cost_router.core.ledger import CLASSIFIER
from cost_router.core.outages import Outages
from cost_router.core.ports import Chance, Clock, LabelStore, Reply, Telemetry
from cost_router.core.request import Tenant
from cost_router.core.rubric import read_label
from cost_router.core.trip import Call, Trip, own_call
from cost_router.core.words import Label

FALLBACK_LABEL: Final = Label.MODERATE
REMEMBERED: Final = 10_000  # labels kept in this process


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label and where it came from: `cache`, `classifier`, `preclassifier`, `default` or the name of a rule."""

    label: Label
    cause: str


@dataclass(slots=True)
class Memory:
    """The labels used last, least recently used first, each until it expires."""

    ttl: dt.timedelta
    capacity: int = REMEMBERED
    _labels: OrderedDict[str, tuple[Label, dt.datetime]] = field(default_factory=OrderedDict)

    def get(self, key: str, now: dt.datetime) -> Label | None:
        """The label, unless there is none or it has expired."""
        label, expires = self._labels.get(key, (None, now))
        if label is None or expires <= now:
            self._labels.pop(key, None)
            return None
        self._labels.move_to_end(key)
        return label

    def put(self, key: str, label: Label, now: dt.datetime) -> None:
        """Keep the label and forget the least recently used one beyond the capacity."""
        self._labels[key] = (label, now + self.ttl)
        self._labels.move_to_end(key)
        if len(self._labels) > self.capacity:
            self._labels.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Labeller:
    """Finds the label of a request."""

    caller: Caller
    store: LabelStore
    memory: Memory
    deadline_seconds: float
    clock: Clock
    chance: Chance
    telemetry: Telemetry
    outages: Outages = field(default_factory=Outages)

    async def look_up(self, trip: Trip) -> Labelled | None:
        """The label when a cache has it; fills the record's cache field. A store that fails is a miss."""
        if not trip.request.hints.cache:
            return None
        found = await self._cached(_key(trip))
        trip.record.cache = "hit" if found else "miss"
        return Labelled(found, "cache") if found else None

    async def classify(self, question: Call | None, trip: Trip, patience: Patience) -> Labelled:
        """The label that `question` gets, kept for the next time; fills the record's classifier fields.

        Raises `UpstreamError` or `DeadlinePassed` when a caller that has time meets a rate limit, or an account at
        fault: waiting is cheaper than a wrong tier.
        """
        if question and patience.fall_back and self.outages.hold_back(question.model.id, self.clock.monotonic()):
            trip.record.classifier_skipped = True
            return Labelled(FALLBACK_LABEL, "default")
        label = await self._classify(question, trip, patience)
        trip.record.classifier_failed = label is None
        if label is None:
            return Labelled(FALLBACK_LABEL, "default")
        if trip.request.hints.cache:
            trip.pending.append(asyncio.create_task(self._keep(_key(trip), label)))
        return Labelled(label, "classifier")

    async def _cached(self, key: str) -> Label | None:
        now = self.clock.now()
        label = self.memory.get(key, now)
        if label is None:
            try:
                label = await self.store.get(key, now)
            except StoreError as error:
                self.telemetry.note("label_store_failed", operation="get", error=str(error))
            if label is not None:
                self.memory.put(key, label, now)
        return label

    async def _keep(self, key: str, label: Label) -> None:
        now = self.clock.now()
        self.memory.put(key, label, now)
        try:
            await self.store.put(key, label, now)
        except StoreError as error:
            self.telemetry.note("label_store_failed", operation="put", error=str(error))

    def question(self, trip: Trip, arm: Arm | None = None) -> Call | None:
        """The classifier's call for a request; None where its excerpt may not be sent: its place has no classifier.

        arm: whose rubric and model; of the one that acts when left out.
        """
        arm = arm or trip.arm
        place, model = trip.request.ask.terms.inference_geo, arm.lineup.classifier
        if place and not model.geographies:
            return None
        body = arm.rubric.question(trip.asked, model, self.chance.token())
        return own_call(model, body, place, CLASSIFIER, CLASSIFIER)

    async def _classify(self, call: Call | None, trip: Trip, patience: Patience) -> Label | None:
        request = trip.request
        if call is None:
            self.telemetry.note("classifier_failed", request_id=request.id, error="the model has no inference_geo")
            return None
        try:
            if patience.fall_back:
                reply = await self._once(call, trip)
            else:
                once = partial(self.caller.call, call, trip)
                reply = await self.caller.persist(once, call, request.deadline, patience, each=self.deadline_seconds)
        except (UpstreamError, DeadlinePassed) as error:
            waits = isinstance(error, DeadlinePassed) or error.is_limit or error.barred
            if waits and not patience.fall_back:
                raise
            self.telemetry.note("classifier_failed", request_id=request.id, error=str(error))
            return None
        label = read_label(reply.message)
        if label is None:
            self.telemetry.note("classifier_failed", request_id=request.id, error="no label in the answer")
        return label

    async def _once(self, call: Call, trip: Trip) -> Reply:
        """The reply of one attempt with a deadline of its own, for somebody who waits; outages are learned from it."""
        began = self.clock.monotonic()
        deadline = min(trip.request.deadline, began + self.deadline_seconds)
        ended: BaseException | None = None
        try:
            return await self.caller.call(call, trip, deadline)
        except BaseException as error:
            ended = error
            raise
        finally:
            seconds = self.outages.ended(call.model.id, ended, self.clock.monotonic())
            if seconds:
                self.telemetry.note("classifier_held_back", model=call.model.id, seconds=seconds)


def cache_key(tenant: Tenant, ask: Ask, rubric_version: str, model_id: str) -> str:
    """HMAC-SHA-256 over everything that the label depends on, keyed by the tenant's secret; exact matches only."""
    parts = [tenant.name, rubric_version, model_id, normalised(ask), str(ask.digest)]
    message = json.dumps(parts).encode()
    return hmac.new(tenant.label_key, message, hashlib.sha256).hexdigest()


def _key(trip: Trip) -> str:
    arm = trip.arm
    return cache_key(trip.request.tenant, trip.asked, arm.rubric.version, arm.lineup.classifier.id)


def normalised(ask: Ask) -> str:
    """The whole ask, in Unicode form NFC, with runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFC", ask.text).split())
