"""The router function as deployed: `handler` for Lambda's own runtime (buffered), `app` for uvicorn (streaming).

Everything is made at import, so that a SnapStart snapshot holds it; no socket is opened before the first request. The
collector is off meanwhile: of the thousands of objects that the SDK's import makes, none is garbage (a sixth faster).
"""

import gc

gc.disable()

import os  # noqa: E402  after the collector is off

from cost_router.adapters.aws import Aws  # noqa: E402  after the collector is off
from cost_router.handlers import wiring_https  # noqa: E402  after the collector is off

aws = Aws()
app = wiring_https.app(os.environ, aws)
handler = wiring_https.buffered(app, os.environ, aws)

gc.freeze()
gc.enable()
