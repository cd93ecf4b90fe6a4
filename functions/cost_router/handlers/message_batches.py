"""`/v1/messages/batches`: the Message Batches API over the router's own jobs queue and its lanes.

A batch is created in three steps, of which the last one counts: its lines are kept in the results bucket, a message is
sent by which the batch function puts them on the queue (`handlers/unpacking.py`), and its item is written. After a
death before that nothing runs; after it everything does. When that write fails, the batch is canceled.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as HttpRoute

from cost_router.core.errors import DeadlinePassed, InvalidRequest, NotFound, StoreError, quoted
from cost_router.core.groups import Groups
from cost_router.core.message_batches import (
    ID,
    PREFIX,
    BatchFiles,
    Counts,
    MessageBatch,
    MessageBatches,
    end_of,
    progress,
)
from cost_router.core.paging import Page
from cost_router.core.record import Record
from cost_router.core.request import Tenant
from cost_router.handlers import replies
from cost_router.handlers.base_url import base_url
from cost_router.handlers.batch_lines import Owner, parse_batch
from cost_router.handlers.batch_replies import PATH, Standing, batch_row, joined, json_lines
from cost_router.handlers.buffered import JSON_LINES, sent_whole
from cost_router.handlers.front import Front
from cost_router.handlers.paging import Cursor, parse_cursor
from cost_router.handlers.unpacking import Outbox

KIND: Final = "batches"


@dataclass(frozen=True, slots=True)
class BatchParts:
    """What batches reach."""

    batches: MessageBatches
    files: BatchFiles
    groups: Groups
    outbox: Outbox


@dataclass(frozen=True, slots=True)
class MessageBatchEndpoints:
    """Batches of the caller's tenant."""

    front: Front
    parts: BatchParts

    def routes(self) -> list[HttpRoute]:
        """Paths and methods."""
        return [
            HttpRoute(PATH, self.create, methods=["POST"]),
            HttpRoute(PATH, self.list_batches, methods=["GET"]),
            HttpRoute(f"{PATH}/{{id}}", self.retrieve, methods=["GET"]),
            HttpRoute(f"{PATH}/{{id}}/cancel", self.cancel, methods=["POST"]),
            HttpRoute(f"{PATH}/{{id}}/results", self.results, methods=["GET"]),
        ]

    async def create(self, http: HttpRequest) -> Response:
        """`POST /v1/messages/batches`: all lines are checked before anything is kept."""

        async def accept(record: Record, began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            raw = await self.front.body(http)
            id_ = f"{PREFIX}{self.front.out.chance.token()}"
            now = self._now()
            owner = Owner(tenant, id_, now)
            lines = await asyncio.to_thread(parse_batch, raw, http.headers, owner)  # seconds, for tens of thousands
            batch = MessageBatch(id_, tenant.name, len(lines), now)
            self._check_in_time(began, batch)
            await self.parts.files.keep(id_, lines)
            await self.parts.outbox.announce(tenant.name, id_)
            await self._commit(batch)
            return self._shown(http, Standing(batch, Counts(batch.lines)), record)

        return await self.front.guarded(KIND, accept)

    async def list_batches(self, http: HttpRequest) -> Response:
        """`GET /v1/messages/batches`: the newest first."""

        async def read(record: Record, _began: float) -> Response:
            tenant = await self.front.tenant(http, record)
            found = await self._page(tenant, parse_cursor(http.query_params))
            standings = await asyncio.gather(*map(self._standing, found.items))
            base = base_url(http, self.front.settings.public_url)
            page = Page(tuple(standings), found.has_more)
            body = page.body(lambda standing: standing.batch.id, lambda standing: batch_row(standing, base))
            return replies.reported(body, record)

        return await self.front.guarded(KIND, read)

    async def retrieve(self, http: HttpRequest) -> Response:
        """`GET /v1/messages/batches/{id}`."""

        async def read(record: Record, _began: float) -> Response:
            return self._shown(http, await self._own(http, record), record)

        return await self.front.guarded(KIND, read)

    async def cancel(self, http: HttpRequest) -> Response:
        """`POST /v1/messages/batches/{id}/cancel`: what has not been sent to Claude ends unpaid."""

        async def end(record: Record, _began: float) -> Response:
            found = await self._own(http, record)
            if found.batch.ended:
                raise InvalidRequest(f"Message Batch {found.batch.id} has already ended and cannot be canceled")
            return self._shown(http, replace(found, batch=await self._cancel(found.batch)), record)

        return await self.front.guarded(KIND, end)

    async def results(self, http: HttpRequest) -> Response:
        """`GET /v1/messages/batches/{id}/results`: a line of JSON for each line of a batch that has ended."""

        async def read(record: Record, began: float) -> Response:
            batch = (await self._own(http, record)).batch
            if not batch.ended:
                raise NotFound(f"Message Batch {batch.id} has no results yet: it is {batch.status}")
            rows = self.parts.files.results(batch.id, batch.tenant)
            first = await anext(rows, None)  # so that a bucket that cannot be reached is an error with a status
            if first is None:
                raise NotFound(f"the results of Message Batch {batch.id} are no longer kept")
            lines = json_lines(first, rows)
            headers = {"request-id": record.request_id, "cache-control": "no-store"}
            if told := sent_whole(http.scope):
                told.record = record  # too large ones are kept, and the caller is told where
                left = began + self.front.settings.deadline_seconds - self.front.out.clock.monotonic()
                content = await joined(lines, batch, left)
                return Response(content, media_type=JSON_LINES, headers=headers)
            return StreamingResponse(self._noting(lines, record), media_type=JSON_LINES, headers=headers)

        return await self.front.guarded(KIND, read)

    async def _noting(self, lines: AsyncIterator[bytes], record: Record) -> AsyncIterator[bytes]:
        """The lines; a bucket that fails on the way cuts the connection, which is how the caller learns of it."""
        try:
            async for line in lines:
                yield line
        except StoreError as error:
            self.front.out.telemetry.note("results_cut", request_id=record.request_id, error=str(error))
            raise

    def _check_in_time(self, began: float, batch: MessageBatch) -> None:
        """Nothing is kept for a caller who has stopped waiting. Raises `DeadlinePassed`."""
        if self.front.out.clock.monotonic() >= began + self.front.settings.deadline_seconds:
            raise DeadlinePassed(f"requests: {batch.lines} lines could not be checked in time; accepted: fewer")

    async def _commit(self, batch: MessageBatch) -> None:
        """Accept a batch; one whose write failed may be there all the same, and is canceled. Raises `StoreError`."""
        try:
            await self.parts.batches.accept(batch)
        except StoreError:
            self.front.out.telemetry.note("batch_not_accepted", batch=batch.id, tenant=batch.tenant)
            with contextlib.suppress(StoreError):
                await self._cancel(batch)
            raise

    async def _cancel(self, batch: MessageBatch) -> MessageBatch:
        await self.parts.groups.cancel(batch.id, batch.tenant, self._now())
        return await self.parts.batches.cancel(batch, self._now())

    async def _page(self, tenant: Tenant, cursor: Cursor) -> Page[MessageBatch]:
        after = await self._find(cursor.after_id, tenant) if cursor.after_id else None
        before = await self._find(cursor.before_id, tenant) if cursor.before_id else None
        return await self.parts.batches.page(tenant.name, cursor.limit, after=after, before=before, now=self._now())

    async def _own(self, http: HttpRequest, record: Record) -> Standing:
        """The batch in the path, if it is the caller's. Raises `Unauthenticated` and `NotFound`."""
        tenant = await self.front.tenant(http, record)
        return await self._standing(await self._find(http.path_params["id"], tenant))

    async def _find(self, id_: str, tenant: Tenant) -> MessageBatch:
        """A batch of the tenant; another tenant's is as unknown as one that never was."""
        found = await self.parts.batches.find(id_, self._now()) if ID.fullmatch(id_) else None
        if found is None or found.tenant != tenant.name:
            raise NotFound(f"Message Batch {quoted(id_)} not found")
        return found

    async def _standing(self, batch: MessageBatch) -> Standing:
        """How far a batch is; how it has ended is kept the first time that somebody sees it."""
        if batch.ended:
            return Standing(batch, batch.ended[1])
        tally = await self.parts.groups.tally(batch.id)
        if ended := end_of(batch, tally, self._now()):
            batch = replace(batch, ended=ended)
            await self.parts.batches.end(batch)
        return Standing(batch, progress(batch, tally))

    def _shown(self, http: HttpRequest, standing: Standing, record: Record) -> Response:
        return replies.reported(batch_row(standing, base_url(http, self.front.settings.public_url)), record)

    def _now(self) -> dt.datetime:
        return self.front.out.clock.now()
