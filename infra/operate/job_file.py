"""A file of jobs, one a line, read as a stream and checked line by line before anything of it is sent."""

import datetime as dt
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from cost_router.contract import DEFAULT_TENANT
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.wire import encode
from cost_router.handlers.jobs import InvalidParams, JobBody, parse_job
from cost_router.handlers.strict_json import parse_json

MEMBERS: Final = ("custom_id", "params", "router")
SHOWN: Final = 20  # problems that an error tells
MOST_BYTES: Final = 32_000_000  # of a line; platform.claude.com/docs/en/api/errors: 32 MB for a Messages request
TOLD_BYTES: Final = 1 << 20  # read between two steps of the progress bar
WHO_DIGITS: Final = 16  # of the hash that tells files apart
BOM: Final = b"\xef\xbb\xbf"
Advance = Callable[[int], object]
Item = Mapping[str, Any]


class BadJobs(ValueError):
    """Jobs cannot be submitted as they are; the message names the lines and says what is accepted."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command says of all jobs; None leaves it to the lines."""

    group: str
    tenant: str | None = None
    lane: str | None = None
    answer_by: str | None = None
    floor: str | None = None
    ceiling: str | None = None
    tags: Mapping[str, str] | None = None

    def router(self) -> dict[str, Any]:
        """The `router` object of a job that has none of its own; raises `BadJobs` when nobody would take it."""
        names = ("tenant", "group", "lane", "answer_by", "floor", "ceiling", "tags")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        params = {"max_tokens": 1, "messages": [{"role": "user", "content": "-"}]}
        try:
            parse_job(encode({"custom_id": "-", "params": params, "router": given}).decode())
        except InvalidRequest as error:
            raise BadJobs(f"{error}; nothing was sent") from None
        return given


@dataclass(frozen=True, slots=True)
class FileJob:
    """A job of a file, with the options merged in. message: as the queue takes it, prompt and all."""

    custom_id: str
    tenant: str
    message: Item = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checked:
    """A file whose lines are all jobs. who: tells its custom_ids and their order from others; tenant: of the first."""

    count: int
    who: str
    tenant: str


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of jobs. stamp: what tells that it is still the file that was checked."""

    path: Path
    router: Mapping[str, Any]
    stamp: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, options: Options) -> "JobFile":
        """The file at `path`; raises `BadJobs`."""
        try:
            with path.open("rb") as stream:
                return cls(path, options.router(), _stamp(stream))
        except OSError as error:
            raise _unreadable(path, error) from error

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp[0]

    def check(self, admit: Callable[[JobBody], object], now: dt.datetime, advance: Advance) -> Checked:
        """Check every line; `admit` raises `InvalidRequest` for one that its tenant may not drop. Raises `BadJobs`."""
        found: dict[str, int] = {}  # the line of each custom_id
        problems: list[str] = []
        wrong, who, tenant = 0, hashlib.sha256(), DEFAULT_TENANT
        for number, raw in self._lines(advance):
            try:
                job = _checked(_merged(raw, self.router), now)
                admit(job)
                _only_once(found, job.custom_id, number)
            except InvalidRequest as error:
                wrong += 1
                if len(problems) < SHOWN:
                    problems.append(f"line {number}: {error}")
            else:
                who.update(f"{job.custom_id}\n".encode())
                tenant = tenant if len(found) > 1 else job.tenant
        if wrong:
            more = [f"... and {wrong - len(problems):,} more"] if wrong > len(problems) else []
            said = f"{self.path}: {wrong:,} {'line is' if wrong == 1 else 'lines are'} no job; nothing was sent"
            raise BadJobs("\n".join([said, *problems, *more]))
        if not found:
            raise BadJobs(f"{self.path}: it is blank; accepted: a job on each line; nothing was sent")
        return Checked(len(found), who.hexdigest()[:WHO_DIGITS], tenant)

    def jobs(self, advance: Advance | None = None) -> Iterator[FileJob]:
        """The jobs of a file that was checked; raises `BadJobs` when it was changed since."""
        for _, raw in self._lines(advance or (lambda _: None)):
            message = _merged(raw, self.router)
            yield FileJob(message["custom_id"], message["router"].get("tenant", DEFAULT_TENANT), message)

    def _lines(self, advance: Advance) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, by number from 1; of one that is too long, as much as tells that it is."""
        try:
            with self.path.open("rb") as stream:
                self._compare(stream)
                number, untold = 0, 0
                while raw := stream.readline(MOST_BYTES + 1):
                    number, untold = number + 1, untold + len(raw)
                    rest = raw
                    while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
                        rest = stream.readline(MOST_BYTES + 1)
                        untold += len(rest)
                    if untold >= TOLD_BYTES:
                        advance(untold)
                        untold = 0
                    text = (raw.removeprefix(BOM) if number == 1 else raw).strip()
                    if text:
                        yield number, text
                advance(untold)
                self._compare(stream)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _compare(self, stream: BinaryIO) -> None:
        if _stamp(stream) != self.stamp:
            raise BadJobs(f"{self.path}: it was changed while it was read; accepted: a file that stays as it is")


def _merged(raw: bytes, options: Item) -> dict[str, Any]:
    """The message of a line: the options, and over them what the line's own `router` says. Raises `InvalidRequest`."""
    if len(raw) > MOST_BYTES:
        raise InvalidRequest(f"it is longer than {MOST_BYTES:,} bytes; accepted: what the Messages API takes")
    value = parse_json(raw)
    unknown = [name for name in value if name not in MEMBERS]
    if unknown:
        raise InvalidRequest(f"body: {quoted(unknown[0])} is unknown; accepted: {', '.join(MEMBERS)}")
    own, group = value.get("router", {}), options["group"]
    if not isinstance(own, dict):
        return value
    if own.get("group", group) != group:
        raise InvalidRequest(
            f"router.group: {quoted(own['group'])} is not the group of the command; accepted: {group!r}, or none"
        )
    if "group_size" in own:  # it would count beside what is announced
        raise InvalidRequest(
            "router.group_size: the command itself tells how many jobs there are; accepted: leave it out"
        )
    return {**value, "router": {**options, **own}}


def _only_once(found: dict[str, int], custom_id: str, number: int) -> None:
    first = found.setdefault(custom_id, number)
    if first != number:
        raise InvalidRequest(f"custom_id: {custom_id!r} is in line {first} already; accepted: each custom_id once")


def _checked(message: Item, now: dt.datetime) -> JobBody:
    """The job in a message, by the rules of the function that will take it. Raises `InvalidRequest`."""
    try:
        job = parse_job(encode(message).decode())
    except InvalidParams as error:
        raise InvalidRequest(f"params.{error}") from None
    if job.answer_by and job.answer_by <= now:
        raise InvalidRequest(
            f"router.answer_by: {message['router']['answer_by']!r} has passed; accepted: a time to come"
        )
    return job


def _stamp(stream: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode):  # it is read more than once
        raise BadJobs(f"{stream.name}: it is no regular file; accepted: a file of jobs")
    return found.st_size, found.st_mtime_ns, found.st_ino


def _unreadable(path: Path, error: OSError) -> BadJobs:
    return BadJobs(f"{path}: {error.strerror}; accepted: a file of jobs")
