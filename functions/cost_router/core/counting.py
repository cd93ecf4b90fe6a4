"""How many tokens a request has on the model that it names.

Counting is free at Claude, so nothing is put aside, booked or measured against a budget, and no classifier is paid to
find out where `auto` would run: it counts on the sonnet tier. Models of one lineup count nearly alike.

A call is made once. Every client tries again by itself, as it does against the API, and tries of ours on top would only
multiply the load on a limit that all callers share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.adapting import adapt
from cost_router.core.calls import SHORTEST_CALL
from cost_router.core.catalogue import Catalogue, Lineup, Model
from cost_router.core.errors import DeadlinePassed, Failure, UpstreamError
from cost_router.core.ports import Claude, Clock, Counted
from cost_router.core.record import Record
from cost_router.core.words import AUTO, TIER_WORDS, Tier

COUNTED_ON: Final = Tier.SONNET  # where nobody has decided
TOO_LATE: Final = "no count came in time; counting costs nothing: try again"


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts; every part is given to it."""

    claude: Claude
    clock: Clock
    catalogue: Catalogue
    lineup: Lineup

    async def count(
        self, body: Mapping[str, Any], headers: Mapping[str, str], record: Record, deadline: float
    ) -> Counted:
        """The tokens of a body whose `model` is a string; the record says which model counted them.

        headers: the caller's that go to Claude. deadline: on the monotonic clock. Raises `UnknownModel`,
        `DeadlinePassed`, `UpstreamError` and what keeps a call from being sent.
        """
        model = self._model(str(body["model"]))
        adapted = adapt(body, model, headers.get("anthropic-version"))
        record.model, record.tier, record.adapted = model.id, model.tier, adapted.changes
        if self._left(deadline) < SHORTEST_CALL:
            raise DeadlinePassed(TOO_LATE)
        try:
            counted = await self.claude.count(adapted.body, headers, self._left(deadline))
        except UpstreamError as error:
            record.upstream_request_id = error.request_id
            if error.failure is Failure.TIMEOUT:
                raise DeadlinePassed(TOO_LATE) from error
            raise
        record.upstream_request_id = counted.request_id
        return counted

    def _model(self, name: str) -> Model:
        if name == AUTO:
            return self.lineup.models[COUNTED_ON]
        if name in TIER_WORDS:
            return self.lineup.models[Tier.parse(name)]
        return self.catalogue.model(name)

    def _left(self, deadline: float) -> float:
        return deadline - self.clock.monotonic()
