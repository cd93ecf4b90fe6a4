"""How requests are decided: the operator's settings in the `tenants` table, and what they name.

Items: `routing` -> settings, JSON (`core/routing.py`); `preclassifier#ID` -> model, gzipped JSON of a local model.
What was read is kept for a minute, so a change takes effect within that time. What cannot be read, or is not well
formed, is noted and changes nothing.
"""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer

from cost_router.adapters.aws import Aws
from cost_router.contract import Table
from cost_router.core.arms import CANDIDATE, Arm, LocalModel, Plan
from cost_router.core.catalogue import Lineup
from cost_router.core.errors import RouterError, StoreError
from cost_router.core.ports import Clock, Telemetry
from cost_router.core.routing import DEFAULT_MODEL, NONE, Routing
from cost_router.core.rubric import Rubric

CACHE_SECONDS: Final = 60.0
ROUTING: Final = "routing"
PRECLASSIFIER: Final = "preclassifier#"
# Of settings and models that a hand has written, not a command. `OSError`: no gzip file; `RecursionError`: deep JSON.
UNREADABLE: Final = (
    *(ArithmeticError, AttributeError, EOFError, KeyError, OSError, RecursionError, TypeError, ValueError, zlib.error),
    *(RouterError, StoreError),
)
_read: Final = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class Makers:
    """What settings name, and how it is made. Each raises `ValueError` for what is not known or not well formed."""

    lineup: Callable[[str], Lineup]  # of its name
    rubric: Callable[[Mapping[str, Any]], Rubric]  # of its content
    preclassifier: Callable[[Mapping[str, Any] | None], LocalModel]  # of its content, or the shipped one


@dataclass(slots=True)
class DynamoPlans:
    """`Plans` in DynamoDB. A plan that cannot be read, or is not well formed, leaves the one before in force.

    Before any was read that is the control. Whoever comes while one is read anew is decided by the one before; only at
    the start, when there is none, all wait.
    """

    aws: Aws
    table: str
    clock: Clock
    telemetry: Telemetry
    control: Arm  # without settings
    makers: Makers
    _plan: Plan | None = None
    _settings: str | None = None  # that `_plan` was made of
    _until: float = 0.0
    _models: dict[str, LocalModel] = field(default_factory=dict)

    async def current(self) -> Plan:
        """The plan in force."""
        if self._plan is None or self._until <= self.clock.monotonic():
            self._until = self.clock.monotonic() + CACHE_SECONDS
            try:
                await self._refresh()
            except UNREADABLE as error:
                self.telemetry.note("routing_settings_failed", error=f"{type(error).__name__}: {error}")
                self._plan = self._plan or Plan(self.control)
        return self._plan or Plan(self.control)

    async def _refresh(self) -> None:
        item = await self._item(ROUTING)
        settings = "{}" if item is None else str(item.get("settings", "{}"))
        if settings != self._settings:
            self._plan = await self._made(Routing.parse(json.loads(settings)))
            self._settings = settings

    async def _made(self, routing: Routing) -> Plan:
        local = await self._model(routing.preclassifier)
        control = dataclasses.replace(self.control, preclassifier=local)
        asked = routing.candidate
        if asked is None:
            return Plan(control, None, routing)
        if asked.preclassifier:
            local = await self._model(asked.preclassifier)
        candidate = Arm(
            name=CANDIDATE,
            lineup=self.makers.lineup(asked.lineup) if asked.lineup else control.lineup,
            rubric=self.makers.rubric(asked.rubric) if asked.rubric is not None else control.rubric,
            preclassifier=local,
        )
        return Plan(control, candidate, routing)

    async def _model(self, id_: str | None) -> LocalModel | None:
        """The local model of that id, read once."""
        if id_ is None or id_ == NONE:
            return None
        if id_ not in self._models:
            content = None
            if id_ != DEFAULT_MODEL:
                item = await self._item(PRECLASSIFIER + id_)
                if item is None:
                    raise ValueError(f"preclassifier {id_!r} is not in the table")
                content = json.loads(gzip.decompress(bytes(item["model"])))
            self._models[id_] = self.makers.preclassifier(content)
        return self._models[id_]

    async def _item(self, pk: str) -> dict[str, Any] | None:
        reply = await self.aws.call(
            "dynamodb", "get_item", TableName=self.table, Key={Table.TENANTS_KEY: {"S": pk}}, ConsistentRead=True
        )
        item = reply.get("Item")
        return None if item is None else {name: _read(value) for name, value in item.items()}
