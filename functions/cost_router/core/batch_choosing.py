"""Which parked lines go into the next Message Batch: every group and tenant in turn, as far as budgets cover them.

Lines with a deadline go into batches of their own, those of one hour together: a batch can only be cancelled as a
whole, so that others would be cancelled with them.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from cost_router.core import budget
from cost_router.core.batch_billing import LineBilling, money_of
from cost_router.core.batch_lane import MOST_BYTES, MOST_LINES, Line
from cost_router.core.batch_ports import BatchStore
from cost_router.core.budget import Limits, Period, Scope
from cost_router.core.groups import MOST_REFUSED, Group, in_turn
from cost_router.core.ports import Clock, Ledger, Policies, Telemetry


@dataclass(slots=True)
class Room:
    """What is left under budgets in this round, so that no line is moved that would not be covered.

    It is looked at, not held: what holds is the reservation.
    """

    ledger: Ledger
    at: dt.datetime
    left: dict[tuple[str, Period], Decimal] = field(default_factory=dict)

    async def take(self, scopes: Sequence[Scope], amount: Decimal) -> bool:
        """Whether `amount` fits under all scopes; if so it is taken."""
        unknown = [scope for scope in scopes if (scope.key, scope.period) not in self.left]
        for standing in await self.ledger.standings(self.at, unknown) if unknown else []:
            limit = standing.scope.limit_usd or Decimal(0)
            self.left[standing.scope.key, standing.scope.period] = limit - standing.committed_usd
        if any(self.left[scope.key, scope.period] < amount for scope in scopes):
            return False
        for scope in scopes:
            self.left[scope.key, scope.period] -= amount
        return True


@dataclass(slots=True)
class Choice:
    """What was chosen so far."""

    lines: list[Line] = field(default_factory=list)
    size: int = 0  # bytes of the bodies
    waiting: int = 0  # lines that nothing covers now
    refused: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # in a row, by group

    def has_room_for(self, line: Line) -> bool:
        """Whether a line fits into the batch."""
        return len(self.lines) < MOST_LINES and (not self.lines or self.size + line.body_bytes <= MOST_BYTES)

    def belongs(self, line: Line) -> bool:
        """Whether a line may be cancelled together with those chosen."""
        return not self.lines or _hour(line) == _hour(self.lines[0])


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses; every part is given to it."""

    store: BatchStore
    ledger: Ledger
    policies: Policies
    billing: LineBilling
    limits: Limits  # of the account; and of each session, where its tenant has none of its own
    clock: Clock
    telemetry: Telemetry

    async def choose(self, groups: Sequence[Group], *, urgent: bool) -> tuple[list[Line], bool]:
        """Lines for one batch, with their money; whether there may be more. Raises `StoreError`."""
        now = self.clock.now()
        limits: Mapping[str, Limits] | None = None  # read when there is a line
        room, choice, more = Room(self.ledger, now), Choice(), False

        async def lines(group: Group) -> AsyncIterator[Line]:
            async for line in self.store.parked(group.name, urgent=urgent):
                yield line
                if choice.refused[group.name] >= MOST_REFUSED:
                    return

        async for group, parked in in_turn(groups, lines):
            if parked.promoted_at and parked.promoted_at <= now:
                await self.store.promote(parked, None, now)
                continue
            if not choice.belongs(parked):
                more = True
                continue
            if not choice.has_room_for(parked):
                return choice.lines, True
            limits = await self.policies.limits() if limits is None else limits
            line = await self._covered(parked, limits, room)
            choice.refused[group.name] = 0 if line else choice.refused[group.name] + 1
            if line is None:
                choice.waiting += 1
                continue
            choice.lines.append(line)
            choice.size += line.body_bytes
        if choice.waiting:
            self.telemetry.note("batch_lines_wait", lines=choice.waiting)
        return choice.lines, more

    def scopes(self, line: Line, limits: Mapping[str, Limits]) -> tuple[Scope, ...]:
        """The budgets that a line counts for."""
        return budget.scopes(line.tenant, limits[line.tenant], self.limits, line.session)

    async def _covered(self, parked: Line, limits: Mapping[str, Limits], room: Room) -> Line | None:
        """The line with its money, if its budgets cover it."""
        if parked.tenant not in limits:  # disabled or deleted since: its jobs wait, as on the queue
            return None
        scopes = self.scopes(parked, limits)
        line = self.billing.with_money(parked, scopes, room.at)
        return line if await room.take(scopes, money_of(line).amount_usd) else None


def _hour(line: Line) -> dt.datetime | None:
    return line.answer_by.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0) if line.answer_by else None
