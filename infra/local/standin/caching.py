"""The prompt cache: which part of a prompt is read, written or new.

As on the API: markers (`cache_control`, "5m" by default or "1h") end cacheable prefixes in the order tools, system,
messages; entries belong to one model; a prefix under the model's minimum is not cached, without an error; an entry
lives its ttl from the last use, and a marker finds entries up to 20 blocks before it. Unlike on the API an entry can
be read as soon as the call that writes it is admitted.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from infra.local.standin.models import Model
from infra.local.standin.tokens import Segment

TTL_SECONDS: Final = {"5m": 300, "1h": 3_600}
LOOKBACK_BLOCKS: Final = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How the tokens of one prompt fall: each is in exactly one of the four figures."""

    fresh: int
    read: int
    written_5m: int
    written_1h: int
    writes: dict[str, str] = field(default_factory=dict)  # digest -> ttl
    reads: tuple[str, ...] = ()  # digests whose entries live on

    @property
    def limited(self) -> int:
        """Tokens that count against the input limit: cache reads don't."""
        return self.fresh + self.written_5m + self.written_1h

    def usage(self, output_tokens: int) -> dict[str, Any]:
        """`usage` as the Messages API reports it."""
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": self.written_5m + self.written_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        }


class PromptCache:
    """Prefixes seen lately, by model; times are seconds since the epoch."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[str, tuple[float, str]] = {}  # digest -> (expires at, ttl)

    def plan(self, model: Model, pieces: list[Segment], now: float) -> Plan:
        """What the prompt would read and write; changes nothing, so that a refused call leaves no trace."""
        digests, sums = _prefixes(model, pieces)
        marked = [i for i, piece in enumerate(pieces) if piece.cache_control and sums[i] >= model.cache_minimum]
        hit = self._longest_hit(marked, digests, now)
        read = sums[hit] if hit is not None else 0
        written = {"5m": 0, "1h": 0}
        writes: dict[str, str] = {}
        done = read
        for i in marked:
            if hit is not None and i <= hit:
                continue
            ttl = _ttl(pieces[i])
            written[ttl] += sums[i] - done
            writes[digests[i]] = ttl
            done = sums[i]
        reads = tuple(digests[i] for i in (*marked, hit) if i is not None and hit is not None and i <= hit)
        return Plan(sums[-1] - done, read, written["5m"], written["1h"], writes, reads)

    def commit(self, plan: Plan, now: float) -> None:
        """Store what the plan writes and refresh what it reads."""
        for digest in plan.reads:
            if digest in self._entries:
                _, ttl = self._entries[digest]
                self._entries[digest] = (now + TTL_SECONDS[ttl], ttl)
        for digest, ttl in plan.writes.items():
            self._entries[digest] = (now + TTL_SECONDS[ttl], ttl)

    def clear(self) -> None:
        """Forget every prefix."""
        self._entries.clear()

    def _longest_hit(self, marked: list[int], digests: list[str], now: float) -> int | None:
        for mark in reversed(marked):
            for i in range(mark, max(-1, mark - LOOKBACK_BLOCKS), -1):
                expires_at, _ = self._entries.get(digests[i], (0.0, ""))
                if now < expires_at:
                    return i
        return None


def _prefixes(model: Model, pieces: list[Segment]) -> tuple[list[str], list[int]]:
    """Digest and token sum of the prompt up to and including each piece."""
    digests: list[str] = []
    sums: list[int] = []
    digest, total = model.id, 0
    for piece in pieces:
        digest = hashlib.sha256(f"{digest}|{piece.key}".encode()).hexdigest()
        total += piece.tokens
        digests.append(digest)
        sums.append(total)
    return digests, sums


def _ttl(piece: Segment) -> str:
    return str((piece.cache_control or {}).get("ttl") or "5m")
