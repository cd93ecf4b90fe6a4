"""What the doctor says of money that is put aside."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from cost_router.adapters.ledger_items import reservation_item
from infra.operate.doctor import Check, Patient, _reservations
from tests.builders import NOW, World, record, run


class Books:
    """A deployment whose ledger holds these items, page by page."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items
        self.tables = {"ledger": "ledger"}

    def client(self, _service: str) -> "Books":
        return self

    def get_paginator(self, _operation: str) -> "Books":
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        assert asked["ExpressionAttributeValues"] == {":pk": {"S": "reservations"}}
        yield from ({"Items": [item]} for item in self.items)


def examined(now: dt.datetime) -> Check:
    world = World()
    run(world.router.answer(world.request(model="haiku"), record()))
    (held,) = world.ledger.reserved  # until NOW and 145 seconds
    (check,) = _reservations(Patient(Books(reservation_item(held)), now))  # type: ignore[arg-type]
    return check


@pytest.mark.parametrize(("minutes", "level"), [(0, "ok"), (12, "ok"), (13, "fail")])
def test_a_reservation_that_nobody_swept_tells_that_the_collector_does_not_run(minutes: int, level: str) -> None:
    check = examined(NOW + dt.timedelta(minutes=minutes))
    assert check.level == level
    assert ("the collector does not run" in check.do) == (level == "fail")
