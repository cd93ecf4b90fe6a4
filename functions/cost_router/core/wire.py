"""JSON as it goes over the wire."""

import json
from collections.abc import Mapping
from typing import Any

from cost_router.core.errors import InvalidRequest


def encode(body: Mapping[str, Any]) -> bytes:
    """A body as compact JSON in UTF-8; raises `InvalidRequest` when it cannot be."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:  # lone surrogates; infinities
        raise InvalidRequest("body: it holds text or numbers that JSON in UTF-8 cannot carry") from error
