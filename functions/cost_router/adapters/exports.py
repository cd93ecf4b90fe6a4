"""Days of the ledger as JSON lines in S3, where Athena reads them: `ledger/day=YYYY-MM-DD/entries.jsonl.gz`.

A day's file is written whole each time, so that no run can leave a gap or a double. Dollars are decimal strings.
"""

import gzip
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import IO

from cost_router.adapters.aws import Aws
from cost_router.adapters.ledger_items import row
from cost_router.contract import EXPORT_PREFIX
from cost_router.core.ledger import Entry
from cost_router.core.pricing import dollars


@dataclass(frozen=True, slots=True)
class S3Exports:
    """`Exports` in a bucket."""

    aws: Aws
    bucket: str

    async def put(self, day: str, entries: AsyncIterator[Entry]) -> int:
        """Write the file of a UTC day anew; gives how many entries it has. Raises `StoreError`."""
        with tempfile.TemporaryFile() as file:
            count = await _write(file, entries)
            file.seek(0)
            key = f"{EXPORT_PREFIX}/day={day}/entries.jsonl.gz"
            await self.aws.call("s3", "put_object", Bucket=self.bucket, Key=key, Body=file)
        return count


async def _write(file: IO[bytes], entries: AsyncIterator[Entry]) -> int:
    count = 0
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as lines:
        async for entry in entries:
            lines.write(line(entry).encode() + b"\n")
            count += 1
    return count


def line(entry: Entry) -> str:
    """An entry as one line of JSON."""
    plain = {name: dollars(value) if isinstance(value, Decimal) else value for name, value in row(entry).items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
