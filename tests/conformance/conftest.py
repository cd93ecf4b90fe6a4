# ruff: noqa: E402  imports come after the assertions' rewriting, which has to be asked for before
"""The local stack, a tap before each of its entrances, and the clients' drivers, started when the first test asks."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.stack import LocalStack

# Before they are imported, so that their assertions say what they compared.
pytest.register_assert_rewrite(
    *(f"tests.conformance.{name}" for name in ("case", "driver", "features_endpoints", "features_errors")),
    "tests.conformance.features_messages",
)
from tests.conformance.case import Case
from tests.conformance.client import Client
from tests.conformance.driver import Driver, driven
from tests.conformance.roster import ENTRANCES
from tests.conformance.tap import Tap, tapped
from tests.integration.conftest import meter, stack, unique  # noqa: F401  fixtures, for this folder too
from tests.integration.meter import Meter

Start = Callable[[Client], Driver]


@pytest.fixture(scope="session")
def taps(stack: LocalStack) -> Iterator[dict[str, Tap]]:  # noqa: F811  a fixture, not another definition
    with contextlib.ExitStack() as open_taps:
        yield {name: open_taps.enter_context(tapped(str(stack.description[name]))) for name in ENTRANCES}


@pytest.fixture(scope="session")
def start(taps: dict[str, Tap], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Gives a client's driver, which is started once and ends before the taps do."""
    running: dict[str, Driver] = {}
    with contextlib.ExitStack() as drivers:

        def started(client: Client) -> Driver:
            if client.id not in running:
                folder: Path = tmp_path_factory.mktemp(client.id)
                running[client.id] = drivers.enter_context(driven(client.command(), folder, client.variables))
            return running[client.id]

        yield started


@pytest.fixture
def case(
    client: Client,
    entrance: str,
    start: Start,
    taps: dict[str, Tap],
    stack: LocalStack,  # noqa: F811  a fixture, not another definition
    meter: Meter,  # noqa: F811  a fixture, not another definition
    unique: Callable[[str], str],  # noqa: F811  a fixture, not another definition
) -> Case:
    """A client at an entrance, with nothing asked yet."""
    driver = start(client)
    taps[entrance].clear()
    return Case(client, driver, taps[entrance], stack, meter, unique)
