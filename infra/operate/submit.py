"""A file of jobs onto the queue: checked whole, compared with what the group has, announced, and only then sent."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from cost_router.adapters.aws import Aws
from cost_router.adapters.jobs_table import ANNOUNCED
from cost_router.adapters.system import SystemClock
from cost_router.adapters.tenants import DynamoTenants
from cost_router.contract import Table
from cost_router.core import guards
from cost_router.core.errors import InvalidRequest
from cost_router.core.fingerprint import fingerprint
from cost_router.core.groups import GroupState
from cost_router.core.job_ports import BROKEN
from cost_router.core.request import Tenant
from cost_router.handlers.jobs import JobBody
from infra.operate.groups import FINAL, GroupDesk, is_gone
from infra.operate.job_file import SHOWN, Advance, BadJobs, Checked, FileJob, JobFile, Options
from infra.operate.sending import NotSent, Sender
from infra.operate.target import Target

LOOKED_UP: Final = 100  # jobs in one call, DynamoDB's highest
LOOKUPS: Final = 6  # calls in flight
EARLIER: Final = "earlier"  # who announced jobs that were there before anybody announced any
Watch = Callable[[str, int], Advance]  # told what begins and how much of it there is, gives what counts it


class SubmitStopped(RuntimeError):
    """Some jobs were sent and others were not; the message says how many, and how to go on."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission did."""

    group: str
    state: str  # of the group
    jobs: int  # in the file
    sent: int
    skipped: int  # had been submitted before
    claim_checks: int  # of those sent, the ones whose params went by way of the bucket
    seconds: float

    @property
    def per_second(self) -> float:
        """Jobs of the file, from its first line read to the last one sent."""
        return self.jobs / self.seconds if self.seconds else 0.0

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self) | {"seconds": round(self.seconds, 3), "per_second": round(self.per_second, 1)}


@dataclass(slots=True)
class There:
    """Jobs of a file that its group has already. same: with the same body; other: with another one."""

    same: set[str] = field(default_factory=set)
    other: list[str] = field(default_factory=list)
    known: int = 0  # of both, and those whose message was broken, which may be sent again


@dataclass(slots=True)
class Tenants:
    """The tenants that jobs name, each looked up once."""

    target: Target
    _found: dict[str, Tenant | None] = field(default_factory=dict)
    _sender: str | None = None

    def admit(self, job: JobBody) -> None:
        """Raise `InvalidRequest` when the job would fail for what its tenant may."""
        tenant = self.get(job.tenant)
        try:
            guards.check(job.params.body, tenant)
        except InvalidRequest as error:  # its path is that of a body of the Messages API
            raise InvalidRequest(f"params.{error}") from None

    def get(self, name: str) -> Tenant:
        """The tenant; raises `InvalidRequest` when its jobs would fail: unknown, disabled, or others may send them."""
        if name not in self._found:
            aws = Aws({"dynamodb": self.target.client("dynamodb")})
            tenants = DynamoTenants(aws, self.target.tables["tenants"], SystemClock())
            self._found[name] = asyncio.run(tenants.by_name(name))
        tenant = self._found[name]
        if tenant is None:
            raise InvalidRequest(
                f"router.tenant: {name!r} is unknown or disabled; accepted: one that `cost-router keys list` shows"
            )
        if tenant.senders and not tenant.takes_jobs_from(self._me()):
            raise InvalidRequest(
                f"router.tenant: {name!r} takes no jobs from {self._me()!r}; accepted: jobs of the principals that its "
                "policy names (cost-router keys set --senders)"
            )
        return tenant

    def _me(self) -> str:
        """Who SQS will say has sent the jobs."""
        if self._sender is None:
            self._sender = str(self.target.client("sts").get_caller_identity()["UserId"])
        return self._sender


def submit(target: Target, path: Path, options: Options, watch: Watch, now: dt.datetime) -> Submitted:
    """Submit a file of jobs to a group, all of it or, when something in it is wrong, nothing.

    Raises `BadJobs` before anything is sent, and `SubmitStopped` on the way; the same again sends the rest then.
    """
    began = time.monotonic()
    file, tenants, desk = JobFile.open(path, options), Tenants(target), GroupDesk.of(target)
    _admit(tenants, options)
    checked = file.check(tenants.admit, now, watch("checking", file.size))
    item = asyncio.run(desk.item(options.group))
    there = There()
    if item:
        _refuse_canceled(options.group, item["state"]["S"])
        advance = watch("comparing with the group", checked.count)
        there = asyncio.run(find_there(desk, tenants, options.group, file.jobs(), advance))
    if there.other:
        raise _others(path, there.other)
    state = asyncio.run(_announce(desk, options, checked, checked.count - there.known, now))
    left = checked.count - len(there.same)
    sender = Sender.of(target, watch("sending", left))
    try:
        sender.send(job for job in file.jobs() if job.custom_id not in there.same)
    except (BadJobs, BotoCoreError, ClientError, KeyboardInterrupt, NotSent) as error:
        raise _stopped(sender.sent, left, error) from error
    took = time.monotonic() - began
    return Submitted(options.group, state, checked.count, sender.sent, len(there.same), sender.claims, took)


async def find_there(desk: GroupDesk, tenants: Tenants, group: str, jobs: Iterable[FileJob], advance: Advance) -> There:
    """Look up which of the jobs a group has already. Raises `StoreError`."""
    there, pending = There(), set[asyncio.Task[None]]()

    async def look(part: dict[str, str]) -> None:
        for item in await desk.table.items(list(part)):
            if is_gone(item, dt.datetime.now(dt.UTC)):
                continue
            key, stored = item[Table.JOBS_KEY]["S"], item.get("fingerprint", {}).get("S")
            there.known += 1
            if stored == part[key]:
                there.same.add(key.partition("/")[2])
            elif stored != BROKEN:
                there.other.append(key.partition("/")[2])
        advance(len(part))

    iterator = iter(jobs)
    while part := {f"{group}/{job.custom_id}": _print(tenants, job) for job in islice(iterator, LOOKED_UP)}:
        pending.add(asyncio.create_task(look(part)))
        await asyncio.sleep(0)  # else nothing would be called before the last part is made
        if len(pending) == LOOKUPS:
            pending = await _collected(pending, asyncio.FIRST_COMPLETED)
    if pending:
        await _collected(pending, asyncio.ALL_COMPLETED)
    return there


def announcement(announced: Iterable[str], started: int, who: str, jobs: int) -> Iterator[tuple[str, int]]:
    """Whom to note with how many jobs, beside what was announced: the same file counts once.

    Jobs that came before anybody announced any are announced with the first file: else the group would seem to be
    finished when as many of them have ended.
    """
    names = {text.rpartition(":")[0] for text in announced}
    if who in names:
        return
    if not names and started:
        yield EARLIER, started
    yield who, jobs


async def _announce(desk: GroupDesk, options: Options, checked: Checked, jobs: int, now: dt.datetime) -> str:
    """Make the group, and note how many jobs are coming; gives its state."""
    state = await desk.groups.look(options.group, checked.tenant, None, now)
    _refuse_canceled(options.group, state)
    item, tally = await asyncio.gather(desk.item(options.group), desk.groups.tally(options.group))
    for who, count in announcement(item.get(ANNOUNCED, {}).get("SS", ()), tally.started, checked.who, jobs):
        await desk.table.announce(options.group, who, count)
    return state.value


def _admit(tenants: Tenants, options: Options) -> None:
    """Refuse a wrong tenant of the command once, not in each line."""
    if options.tenant is None:
        return
    try:
        tenants.get(options.tenant)
    except InvalidRequest as error:
        raise BadJobs(f"{error}; nothing was sent") from None


def _refuse_canceled(group: str, state: str) -> None:
    if state == GroupState.CANCELED:
        raise BadJobs(f"group {group!r} {FINAL}; nothing was sent")


def _print(tenants: Tenants, job: FileJob) -> str:
    return fingerprint(tenants.get(job.tenant).label_key, job.message["params"])


def _others(path: Path, custom_ids: list[str]) -> BadJobs:
    shown = ", ".join(map(repr, sorted(custom_ids)[:SHOWN]))
    more = f" and {len(custom_ids) - SHOWN:,} more" if len(custom_ids) > SHOWN else ""
    return BadJobs(
        f"{path}: {shown}{more}: their name belongs to another body in this group; accepted: custom_ids of their own, "
        "or another group; nothing was sent"
    )


def _stopped(sent: int, left: int, error: BaseException) -> SubmitStopped:
    why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    return SubmitStopped(
        f"{why}; {sent:,} of {left:,} jobs were sent, and the same command again sends the rest (jobs that were taken "
        "by then are skipped, copies on the queue do no harm)"
    )


async def _collected(pending: set[asyncio.Task[None]], when: str) -> set[asyncio.Task[None]]:
    """Those that are still under way; raises what one of the others raised."""
    done, left = await asyncio.wait(pending, return_when=when)
    for task in done:
        task.result()
    return left
