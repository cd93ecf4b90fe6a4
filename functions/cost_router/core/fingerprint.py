"""What tells two jobs of the same name apart: a keyed hash of what is asked."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(label_key: bytes, params: Mapping[str, Any]) -> str:
    """HMAC-SHA-256 over a job's params in canonical JSON, keyed by its tenant's secret, as labels are.

    The order of members does not count. Whoever reads the table cannot guess prompts by it.
    """
    return hmac.new(label_key, json.dumps(params, sort_keys=True).encode(), hashlib.sha256).hexdigest()
