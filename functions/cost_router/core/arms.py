"""The ways to decide: the usual one, and a candidate that is tried beside it."""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Protocol

from cost_router.core.ask import Ask
from cost_router.core.catalogue import Lineup
from cost_router.core.routing import ALL, CANARY, SHADOW, Routing
from cost_router.core.rubric import Rubric
from cost_router.core.words import Label

CONTROL: Final = "control"
CANDIDATE: Final = "candidate"


class LocalModel(Protocol):
    """A classifier in this process: `core/preclassifier.py`."""

    @property
    def version(self) -> str:
        """What tells it from others."""

    def label(self, ask: Ask) -> Label | None:
        """The label of an ask, None when it is not sure."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to decide: which models, labelled by which rubric, after which local model."""

    name: str  # "control" or "candidate"
    lineup: Lineup
    rubric: Rubric
    preclassifier: LocalModel | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How requests are decided at the moment."""

    control: Arm
    candidate: Arm | None = None
    routing: Routing = field(default_factory=Routing)

    def acting(self, conversation: str) -> Arm:
        """The arm that decides for a conversation; always the same one while the settings stay."""
        return self.candidate if self.candidate and self._chosen(CANARY, conversation) else self.control

    def watching(self, conversation: str) -> Arm | None:
        """The arm that decides in shadow for a conversation."""
        return self.candidate if self._chosen(SHADOW, conversation) else None

    def _chosen(self, mode: str, conversation: str) -> bool:
        candidate = self.routing.candidate
        return candidate is not None and candidate.mode == mode and place(conversation) < candidate.percent / ALL


def place(conversation: str) -> float:
    """Where in [0, 1) a conversation stands: a stable hash, so that a larger share keeps who was in a smaller one."""
    digest = hashlib.sha256(f"canary/{conversation}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
