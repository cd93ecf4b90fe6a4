"""What the rules of routing need of the outside world, beside `core/ports.py`."""

import datetime as dt
from collections.abc import Mapping
from typing import Protocol

from cost_router.core.arms import Plan
from cost_router.core.feedback import Feedback
from cost_router.core.samples import Sample
from cost_router.core.sessions import Session


class Plans(Protocol):
    """How requests are to be decided."""

    async def current(self) -> Plan:
        """The plan in force. It never fails: what cannot be read anew stays as it was."""


class SchemaCheck(Protocol):
    """JSON schema."""

    def follows(self, value: object, schema: object) -> bool | None:
        """Whether a JSON value follows a schema; None where that cannot be told."""


class FeedbackStore(Protocol):
    """What was said of answers."""

    async def put(self, feedback: Feedback) -> None:
        """Keep the feedback, in place of what was said of the same request before. Raises `StoreError`."""


class QualityTelemetry(Protocol):
    """Logs and metrics about the quality of answers."""

    def rated(self, feedback: Feedback) -> None:
        """Somebody has said how good an answer was; the comment goes into neither."""


class SampleStore(Protocol):
    """Requests and answers, whole, where the deployment's operator has asked for them."""

    async def put(self, sample: Sample) -> None:
        """Keep the sample. Raises `StoreError`, soon: an answer waits for it."""


class SessionStore(Protocol):
    """Conversations by keyed hash. Both methods raise `StoreError`."""

    async def get(self, key: str, now: dt.datetime) -> Session | None:
        """The conversation as its last answer left it, unless nothing of it is in a cache at `now` any more."""

    async def put(self, key: str, session: Session) -> None:
        """Keep it for as long as its cache is warm."""


class PrefixStore(Protocol):
    """When each model has last seen a prefix, by keyed hash. Both methods raise `StoreError`."""

    async def get(self, key: str, now: dt.datetime) -> Mapping[str, dt.datetime]:
        """Model id -> the last time that is known, in UTC; nothing when the last of them is five minutes ago."""

    async def put(self, key: str, seen: Mapping[str, dt.datetime]) -> None:
        """Keep the times, in place of what was known, for five minutes from the last of them."""
