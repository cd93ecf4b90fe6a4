"""The results of a group in one file: a line for each job, written while they come, whole when it gets its name."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError

from cost_router.adapters.kept import MISSING
from infra.operate.groups import GroupProblem
from infra.operate.target import Target

THREADS: Final = 10  # boto3's clients have ten connections
AHEAD: Final = 40  # results in memory at a time, at the most
REST_SECONDS: Final = 2.0  # between two looks at the bucket
REST_SHARE: Final = 10  # a look may take a tenth of the time: each costs a request for a thousand results
SUFFIX: Final = ".json"


@dataclass(slots=True)
class Collector:
    """Downloads the results of a group, each once, to `FILE.part`; `finish` makes it FILE."""

    s3: Any
    bucket: str
    group: str
    out: Path
    last: threading.Event = field(default_factory=threading.Event)  # all results are there: one more look
    quit: threading.Event = field(default_factory=threading.Event)  # nobody waits for them any more
    _written: dict[str, tuple[str, int]] = field(default_factory=dict)  # object key -> its ETag, and its line
    _replaced: set[int] = field(default_factory=set)  # lines of jobs that have another result since
    _lines: int = 0

    @classmethod
    def of(cls, target: Target, group: str, out: Path) -> "Collector":
        """A collector that writes to `out`; raises `GroupProblem` when that cannot be written."""
        made = cls(target.client("s3"), target.results_bucket, group, out)
        try:
            made.part.open("wb").close()
        except OSError as error:
            raise GroupProblem(f"{made.part}: {error.strerror}; accepted: a file that can be written") from error
        return made

    @property
    def part(self) -> Path:
        """Where the results are until they are complete."""
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def count(self) -> int:
        """Jobs whose result is in the file."""
        return len(self._written)

    def run(self) -> None:
        """Download what comes until `last` is set, and then what is there; or until `quit` is set."""
        with self.part.open("ab") as stream, ThreadPoolExecutor(THREADS) as pool:
            while not self.quit.is_set():
                final, began = self.last.is_set(), time.monotonic()
                self._round(pool, stream)
                if final:
                    return
                self.last.wait(max(REST_SECONDS, REST_SHARE * (time.monotonic() - began)))

    def finish(self) -> int:
        """Give the file its name; how many jobs it has."""
        if self._replaced:
            draft = self.part.with_name(f"{self.part.name}.draft")
            with self.part.open("rb") as lines, draft.open("wb") as stream:
                stream.writelines(line for number, line in enumerate(lines) if number not in self._replaced)
            draft.replace(self.part)
        self.part.replace(self.out)
        return self.count

    def _round(self, pool: ThreadPoolExecutor, stream: BinaryIO) -> None:
        for key, etag, content in self._downloaded(pool, self._new()):
            if content is None or self.quit.is_set():
                continue
            if key in self._written:
                self._replaced.add(self._written[key][1])
            stream.write(content.strip().replace(b"\n", b" ") + b"\n")  # JSON has no line break inside a string
            self._written[key] = (etag, self._lines)
            self._lines += 1
        stream.flush()

    def _new(self) -> Iterator[tuple[str, str]]:
        """Key and ETag of every result that is not in the file as it is now."""
        pages = self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"results/{self.group}/"):
            for entry in page.get("Contents", ()):
                key, etag = entry["Key"], entry["ETag"]
                if self.quit.is_set():
                    return
                if key.endswith(SUFFIX) and self._written.get(key, ("", 0))[0] != etag:
                    yield key, etag

    def _downloaded(
        self, pool: ThreadPoolExecutor, wanted: Iterable[tuple[str, str]]
    ) -> Iterator[tuple[str, str, bytes | None]]:
        """Keys, ETags and contents, in order; several downloads are under way, of few are the contents in memory."""
        ahead: deque[tuple[str, Future[tuple[str, bytes | None]]]] = deque()
        for key, _ in wanted:
            ahead.append((key, pool.submit(self._read, key)))
            if len(ahead) == AHEAD:
                first, future = ahead.popleft()
                yield first, *future.result()
        for key, future in ahead:
            yield key, *future.result()

    def _read(self, key: str) -> tuple[str, bytes | None]:
        """ETag and content of a result; no content when it was deleted meanwhile."""
        try:
            reply: Mapping[str, Any] = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return "", None
            raise
        return reply["ETag"], reply["Body"].read()
