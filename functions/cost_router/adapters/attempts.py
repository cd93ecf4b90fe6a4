"""The `jobs` table: how often a job made its function fail.

SQS's own receive count rises with every deferral, so it cannot tell a poisonous job from a patient one.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cost_router.adapters.jobs_table import JobsTable, expiry, number

DEFECTS: Final = "defects"  # apart from the `attempts` of a lease, which Claude's failures count in


@dataclass(frozen=True, slots=True)
class DynamoAttempts:
    """`Attempts` in DynamoDB."""

    table: JobsTable

    async def failed(self, group: str, custom_id: str, now: dt.datetime) -> int:
        """Count one more failure and return how many there are. Raises `StoreError`."""
        job = f"{group}/{custom_id}"
        # What is there has its own time to live, or none: a line or a held job may wait longer than this counts.
        item = await self.table.update(job, "ADD #defects :one", "attribute_exists(#state)", one=1)
        if item is None:
            item = await self.table.update(job, "ADD #defects :one SET #ttl = :ttl", one=1, ttl=expiry(now))
        return int(number(item or {}, DEFECTS))
