"""The deployed app with quick heartbeats, for uvicorn: nobody wants to wait a minute for the first one."""

import os

from cost_router.adapters.aws import Aws
from cost_router.handlers import wiring_https
from cost_router.handlers.waiting import Heartbeat

app = wiring_https.app(os.environ, Aws(), Heartbeat(after=0.2, every=0.1))
