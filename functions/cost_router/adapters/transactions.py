"""Transactions of DynamoDB: all parts or none, repeated with patience while that is safe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from cost_router.adapters.aws import Aws, error_code
from cost_router.core.backoff import full_jitter
from cost_router.core.errors import StoreError
from cost_router.core.ports import Chance, Clock

TRIES: Final = 12  # transactions on one item conflict rather than queue
TRY_SECONDS: Final = 10.0
# What no repetition mends. Anything else may pass, or may even have been written: the parts' conditions tell.
HOPELESS: Final = frozenset(
    {"ValidationError", "ValidationException", "AccessDeniedException", "ResourceNotFoundException"}
)
FAILED: Final = "ConditionalCheckFailed"


@dataclass(frozen=True, slots=True)
class Transactions:
    """Writes in transactions."""

    aws: Aws
    clock: Clock
    chance: Chance

    async def write(self, parts: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write all parts or none; gives nothing when written, or the reason of each part when a condition failed.

        Conflicts on a counter, throttling and lost replies are tried again with jitter, for some seconds: the parts'
        conditions make that safe. Raises `StoreError`.
        """
        until, token = self.clock.monotonic() + TRY_SECONDS, self.chance.token()
        attempt = 0
        while True:
            attempt += 1
            try:
                # The same token makes a repetition after a lost reply harmless for ten minutes, whatever came between.
                await self.aws.call("dynamodb", "transact_write_items", TransactItems=parts, ClientRequestToken=token)
            except StoreError as error:
                reasons = _reasons(error.__cause__)
                if FAILED in reasons:
                    return reasons
                hopeless = HOPELESS.intersection([*reasons, error_code(error.__cause__)])
                if attempt == TRIES or hopeless or self.clock.monotonic() > until:
                    raise
                await self.pause(attempt)
            else:
                return []

    async def pause(self, attempt: int) -> None:
        """Wait before another try."""
        await self.clock.sleep(full_jitter(attempt, self.chance.fraction(), base=0.02, cap=1.0))


def _reasons(error: BaseException | None) -> list[str]:
    """Why a transaction was cancelled, part by part; nothing when it failed as a whole."""
    response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
    return [str(reason.get("Code")) for reason in response.get("CancellationReasons", ())]
