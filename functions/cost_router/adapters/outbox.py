"""Jobs onto the queue, by the functions: a batch that was accepted over HTTPS as one message, then its lines."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from cost_router.adapters.aws import Aws
from cost_router.adapters.parcels import Parcel, loads, parcel
from cost_router.core.backoff import full_jitter
from cost_router.core.errors import StoreError
from cost_router.core.groups import queue_group
from cost_router.core.ports import Chance, Clock

CALLS: Final = 8  # in flight
TRIES: Final = 6  # of one call; then the message of the batch comes again, and all its lines with it


@dataclass(frozen=True, slots=True)
class SqsOutbox:
    """The jobs queue, and the bucket by way of which large params go."""

    aws: Aws
    url: str
    bucket: str
    clock: Clock
    chance: Chance

    async def announce(self, tenant: str, id_: str) -> None:
        """Send the message by which the batch function puts a batch's lines on the queue. Raises `StoreError`."""
        body, fair = json.dumps({"batch": id_}), queue_group(tenant, id_)
        await self.aws.call("sqs", "send_message", QueueUrl=self.url, MessageBody=body, MessageGroupId=fair)

    async def send(self, tenant: str, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Send jobs of a tenant, ten to a call. Raises `StoreError` when some were not sent, and others may have been.

        What is sent twice does no harm: a copy of a job finds it taken.
        """
        calls = loads(parcel(tenant, job) for job in jobs)
        while some := list(islice(calls, CALLS)):
            await asyncio.gather(*map(self._carry, some))

    async def _carry(self, load: Sequence[Parcel]) -> None:
        for one in load:
            if one.key:
                await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=one.key, Body=one.params)
        waiting = {str(place): one for place, one in enumerate(load)}
        attempt = 0
        while waiting:
            attempt += 1
            entries = [one.entry(id_) for id_, one in waiting.items()]
            reply = await self.aws.call("sqs", "send_message_batch", QueueUrl=self.url, Entries=entries)
            for row in reply.get("Successful", ()):
                del waiting[row["Id"]]
            if waiting and attempt == TRIES:
                raise StoreError(f"sqs.send_message_batch: {reply['Failed'][0]['Code']}")
            if waiting:
                await self.clock.sleep(full_jitter(attempt, self.chance.fraction()))
