"""Alerts on the topic that alarms ring on, each once: the `ledger` table remembers which have been sent."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final

from cost_router.adapters import ledger_items as items
from cost_router.adapters.aws import Aws, error_code
from cost_router.contract import Table
from cost_router.core.budget import Alert
from cost_router.core.errors import StoreError

REMEMBERED_FOR: Final = dt.timedelta(days=40)  # longer than a month's budget lasts


@dataclass(slots=True)
class SnsAlerts:
    """`Alerts` through SNS."""

    aws: Aws
    table: str
    topic: str
    deployment: str
    _sent: set[tuple[str, str]] = field(default_factory=set)  # by this process: saves asking the table again

    async def tell_once(self, alert: Alert, now: dt.datetime) -> bool:
        """Send the alert unless it has been sent; whether it was sent now. Raises `StoreError`."""
        address = f"alerts#{alert.period}", f"{alert.scope.key}#{alert.step}"
        if address in self._sent:
            return False
        first = await self._claim(address, now)
        if first:
            try:
                subject = f"{self.deployment}: {alert.subject}"[:100]  # SNS's limit
                await self.aws.call("sns", "publish", TopicArn=self.topic, Subject=subject, Message=alert.message)
            except StoreError:
                await self.aws.call("dynamodb", "delete_item", TableName=self.table, Key=items.key(address))
                raise
        self._sent.add(address)
        return first

    async def _claim(self, address: items.Address, now: dt.datetime) -> bool:
        """Whether nobody has sent it before."""
        expires = str(int((now + REMEMBERED_FOR).timestamp()))
        item: dict[str, Any] = {**items.key(address), Table.TTL: {"N": expires}}
        new = f"attribute_not_exists({Table.LEDGER_PK})"
        try:
            await self.aws.call("dynamodb", "put_item", TableName=self.table, Item=item, ConditionExpression=new)
        except StoreError as error:
            if error_code(error.__cause__) != "ConditionalCheckFailedException":
                raise
            return False
        return True
