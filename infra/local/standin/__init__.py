"""The stand-in: a local server that speaks the Claude API, with its own meter, limits and faults.

It is the independent referee of the local stack and the tests, so it imports nothing of `cost_router`. A request goes
`app.py` (HTTP) -> `validation.py`, `content.py`, `fitness.py` (what the API would refuse) -> `service.py` (faults,
limits, prompt cache, answer, meter) -> `replies.py` and `streaming.py` (what goes back, or the connection that is cut).
The organisation's usage and cost report is made of the meter: `report_query.py` -> `reports.py` -> `billing.py`.
Tests steer it with `POST /_script` (`script.py`).
"""
