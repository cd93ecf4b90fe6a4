#!/bin/sh
# Serves the router's app under uvicorn: in Lambda as the Web Adapter's start script, on a laptop with the same environment.
# `python3` is the runtime's own in Lambda; elsewhere the first on PATH, which must have the dependencies.
set -eu
root="${LAMBDA_TASK_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)}"
export PYTHONPATH="${root}${PYTHONPATH:+:${PYTHONPATH}}"
# Metrics are printed: without this they would wait in a buffer for the next request, and be lost with the process.
export PYTHONUNBUFFERED=1
# No access log: the app writes one line per request itself. The graceful timeout fits what Lambda gives to extensions.
exec python3 -m uvicorn cost_router.handlers.entry_router:app \
    --host 127.0.0.1 --port "${AWS_LWA_PORT:-8080}" \
    --loop asyncio --http h11 --ws none --lifespan auto \
    --no-access-log --log-level warning --no-server-header \
    --timeout-graceful-shutdown 2
