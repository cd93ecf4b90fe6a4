"""The deployed app, for uvicorn; it reads the settings of routing for each request, so that no test waits a minute."""

import os

from cost_router.adapters import plans
from cost_router.adapters.aws import Aws
from cost_router.handlers import wiring_https

plans.CACHE_SECONDS = 0.0  # type: ignore[misc]  # it is final for everybody else
app = wiring_https.app(os.environ, Aws())
