"""Which client does what at which entrance, as parameters of one test."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.roster import ENTRANCES, FEATURES


def combinations(clients: Iterable[Client]) -> list[Any]:
    """Client by client; a feature that a client does not have is left out, and a dash in the README's table."""
    return [
        pytest.param(client, feature, entrance, id=f"{client.id}-{feature.name}-{entrance}")
        for client in clients
        for feature in FEATURES
        if feature.name not in client.cannot
        for entrance in ENTRANCES
    ]
