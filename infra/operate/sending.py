"""Jobs onto the queue: ten to a call, several calls in flight, large params by way of the bucket, none lost."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from cost_router.adapters.aws import error_code
from cost_router.adapters.parcels import Parcel, loads, parcel
from cost_router.adapters.system import SystemChance
from cost_router.core.backoff import full_jitter
from infra.operate.job_file import FileJob
from infra.operate.target import Target

THREADS: Final = 8  # boto3's clients have ten connections
AHEAD: Final = 4  # calls that are ready before a thread is free
TRIES: Final = 10
SERVER_SIDE: Final = 500  # HTTP status from which on AWS is at fault
TOO_MANY: Final = 429


class NotSent(RuntimeError):
    """A call to the queue or the bucket failed for good, or time and again; the message has AWS's code."""


@dataclass(slots=True)
class Sender:
    """Sends jobs, and counts those that the queue has. told: called with how many more those are, from any thread."""

    sqs: Any
    s3: Any
    queue_url: str
    bucket: str
    told: Callable[[int], object] = lambda _: None
    fraction: Callable[[], float] = SystemChance().fraction
    sent: int = 0
    claims: int = 0  # of those sent, the ones whose params are in the bucket
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, target: Target, told: Callable[[int], object]) -> "Sender":
        """A sender to a deployment's queue."""
        return cls(target.client("sqs"), target.client("s3"), target.queue_url, target.results_bucket, told)

    def send(self, jobs: Iterable[FileJob]) -> None:
        """Send all jobs; raises `NotSent` after what is in flight has ended. `sent` is exact in any case."""
        pool, pending = ThreadPoolExecutor(THREADS), set[Future[None]]()
        try:
            for parcels in loads(parcel(job.tenant, job.message) for job in jobs):
                if len(pending) >= THREADS + AHEAD:
                    pending = _collected(pending, FIRST_COMPLETED)
                pending.add(pool.submit(self._carry, parcels))
            _collected(pending, ALL_COMPLETED)
        finally:  # also after Ctrl-C: whoever waits before another try gives up
            self._stop.set()
            pool.shutdown(cancel_futures=True)

    def _carry(self, parcels: Sequence[Parcel]) -> None:
        for one in parcels:
            if one.key:
                self._upload(one)
        waiting = {str(place): one for place, one in enumerate(parcels)}
        attempt = 0
        while waiting:
            attempt += 1
            why = self._call(waiting)
            if waiting:
                self._pause(attempt, why)

    def _call(self, waiting: dict[str, Parcel]) -> str:
        """Send what waits, and take from it what the queue has now; why something still waits. Raises `NotSent`."""
        entries = [one.entry(id_) for id_, one in waiting.items()]
        try:
            reply = self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            return _passing("sqs.send_message_batch", error)
        self._count([waiting.pop(entry["Id"]) for entry in reply.get("Successful", ())])
        failed = reply.get("Failed", ())
        for entry in failed:
            if entry.get("SenderFault") and not _is_throttle(entry["Code"]):
                raise NotSent(f"sqs.send_message_batch: {entry['Code']}")
        return f"sqs.send_message_batch: {failed[0]['Code'] if failed else 'no reply'}"

    def _upload(self, one: Parcel) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                self.s3.put_object(Bucket=self.bucket, Key=one.key, Body=one.params, ContentType="application/json")
            except (BotoCoreError, ClientError) as error:
                self._pause(attempt, _passing("s3.put_object", error))
            else:
                return

    def _pause(self, attempt: int, why: str) -> None:
        if attempt == TRIES or self._stop.wait(full_jitter(attempt, self.fraction())):
            raise NotSent(why)

    def _count(self, gone: Sequence[Parcel]) -> None:
        with self._lock:
            self.sent += len(gone)
            self.claims += sum(bool(one.key) for one in gone)
        self.told(len(gone))


def _collected(pending: set[Future[None]], when: str) -> set[Future[None]]:
    """Those that are still under way; raises what one of the others raised."""
    done, left = wait(pending, return_when=when)
    for future in done:
        future.result()
    return left


def _passing(operation: str, error: BotoCoreError | ClientError) -> str:
    """What to say of an error that may pass; raises `NotSent` for one that will not."""
    told = f"{operation}: {error_code(error)}"
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status < SERVER_SIDE and status != TOO_MANY and not _is_throttle(error_code(error)):
            raise NotSent(told) from error
    elif not isinstance(error, HTTPClientError | NotConnected):
        raise NotSent(told) from error
    return told


def _is_throttle(code: str) -> bool:
    return "Throttl" in code or code == "SlowDown"
