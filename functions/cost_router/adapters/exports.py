"""Days of the ledger as JSON lines in S3, where Athena reads them: `ledger/day=YYYY-MM-DD/entries.jsonl.gz`.

A day's file is written whole each time, so that no run can leave a gap or a double. Dollars are decimal strings.
"""

import gzip
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any, Final

from cost_router.adapters.aws import Aws
from cost_router.contract import EXPORT_PREFIX, Table
from cost_router.core.ports import Row
from cost_router.core.pricing import dollars

KEYS: Final = {Table.LEDGER_PK, Table.LEDGER_SK}


@dataclass(frozen=True, slots=True)
class S3Exports:
    """`Exports` in a bucket."""

    aws: Aws
    bucket: str

    async def put(self, day: str, entries: AsyncIterator[Row]) -> int:
        """Write the file of a UTC day anew; gives how many entries it has. Raises `StoreError`."""
        with tempfile.TemporaryFile() as file:
            count = await _write(file, entries)
            file.seek(0)
            key = f"{EXPORT_PREFIX}/day={day}/entries.jsonl.gz"
            await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=key, Body=file)
        return count


async def _write(file: IO[bytes], entries: AsyncIterator[Row]) -> int:
    count = 0
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as lines:
        async for entry in entries:
            lines.write(line(entry).encode() + b"\n")
            count += 1
    return count


def line(entry: Row) -> str:
    """An entry as one line of JSON."""
    return json.dumps({name: _plain(name, entry[name]) for name in sorted(entry.keys() - KEYS)}, ensure_ascii=False)


def _plain(name: str, value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    return dollars(value) if name.endswith("_usd") else int(value)
