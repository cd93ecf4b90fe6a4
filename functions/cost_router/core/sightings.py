"""Which model has seen which prefix when: in this process, and in a table that all processes share."""

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cost_router.core.errors import StoreError
from cost_router.core.ports import Telemetry
from cost_router.core.routing_ports import PrefixStore
from cost_router.core.sessions import LIVES
from cost_router.core.terms import FIVE_MINUTES

REMEMBERED: Final = 10_000  # prefixes in this process
FRESH: Final = dt.timedelta(minutes=1)  # what the table was told, or has told, is not repeated within that time


@dataclass(slots=True)
class Known:
    """What this process knows of a prefix, by model id."""

    read_at: dt.datetime
    kept: dict[str, dt.datetime] = field(default_factory=dict)  # as the table has it
    seen: dict[str, dt.datetime] = field(default_factory=dict)  # with what this process has seen since

    def within(self, now: dt.datetime) -> Mapping[str, dt.datetime]:
        """Those that have been seen within five minutes."""
        return {model: at for model, at in self.seen.items() if now < at + LIVES[FIVE_MINUTES]}


@dataclass(frozen=True, slots=True)
class Sightings:
    """Prefixes of prompts; a busy one costs a process one read and one write a minute. A store that fails is a miss."""

    store: PrefixStore
    telemetry: Telemetry
    _known: OrderedDict[str, Known] = field(default_factory=OrderedDict)

    async def of(self, key: str, now: dt.datetime) -> Mapping[str, dt.datetime]:
        """Model id -> when it has last seen the prefix, of those that have within five minutes."""
        known = self._known.get(key)
        if known is None or known.read_at + FRESH <= now:
            known = await self._read(key, now)
        return known.within(now)

    async def add(self, key: str, model: str, at: dt.datetime) -> None:
        """The model has seen the prefix."""
        known = self._known.get(key) or self._remember(key, Known(at))
        known.seen[model] = max(at, known.seen.get(model, at))
        if model in known.kept and at < known.kept[model] + FRESH:
            return
        before, known.kept = known.kept, dict(known.within(at))
        try:
            await self.store.put(key, known.kept)
        except StoreError as error:
            known.kept = before
            self.telemetry.note("prefix_store_failed", operation="put", error=str(error))

    async def _read(self, key: str, now: dt.datetime) -> Known:
        try:
            kept = dict(await self.store.get(key, now))
        except StoreError as error:
            self.telemetry.note("prefix_store_failed", operation="get", error=str(error))
            kept = {}
        before = self._known.pop(key, Known(now)).seen
        seen = {model: max(kept.get(model, at), at) for model, at in {**kept, **before}.items()}
        return self._remember(key, Known(now, kept, seen))

    def _remember(self, key: str, known: Known) -> Known:
        """Keep what is known, and forget what was kept first beyond the capacity."""
        self._known[key] = known
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known
