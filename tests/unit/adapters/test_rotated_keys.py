"""A rotated key ends on the second, whatever the cache remembers."""

import datetime as dt
from typing import Any

import pytest

from cost_router.adapters.aws import Aws
from cost_router.core.errors import NotConfigured
from tests.builders import NOW, run
from tests.unit.adapters.test_stores import ACME, KEY, put, tenants


def ending(seconds: int) -> dict[str, Any]:
    """The key of acme, ending so long after now."""
    return KEY | {"disabled_after": {"N": str(int(NOW.timestamp()) + seconds)}}


@pytest.mark.parametrize(("seconds", "works"), [(-3_600, False), (0, False), (1, True), (3_600, True)])
def test_a_key_is_refused_from_its_end_on(aws: Aws, seconds: int, works: bool) -> None:  # noqa: FBT001  a column
    store, _ = tenants(aws, ending(seconds), ACME)
    assert (run(store.by_key("abc")) is not None) is works


def test_a_remembered_key_does_not_outlive_its_end(aws: Aws) -> None:
    store, clock = tenants(aws, ending(20), ACME)
    assert run(store.by_key("abc"))
    clock.advance(19)
    assert run(store.by_key("abc"))
    clock.advance(1)
    assert run(store.by_key("abc")) is None


def test_a_function_that_was_frozen_past_the_end_refuses_the_key(aws: Aws) -> None:
    store, clock = tenants(aws, ending(20), ACME)
    assert run(store.by_key("abc"))
    clock.at += dt.timedelta(seconds=20)  # the monotonic clock stood still
    assert run(store.by_key("abc")) is None


def test_an_end_that_is_set_later_takes_effect_within_a_minute(aws: Aws) -> None:
    store, clock = tenants(aws, KEY, ACME)
    assert run(store.by_key("abc"))
    put(store, ending(1))
    clock.advance(59)
    assert run(store.by_key("abc"))
    clock.advance(1)
    assert run(store.by_key("abc")) is None


def test_an_end_that_is_no_number_is_named(aws: Aws) -> None:
    store, _ = tenants(aws, KEY | {"disabled_after": {"S": "tomorrow"}}, ACME)
    with pytest.raises(NotConfigured, match="'tomorrow'"):
        run(store.by_key("abc"))
