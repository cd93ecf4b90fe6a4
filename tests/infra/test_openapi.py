"""What the gateway itself answers is in the description of the API too."""

import json
from importlib import resources

from infra.aws.gateway_replies import REPLIES

DOCUMENT = json.loads((resources.files("cost_router") / "data" / "openapi.json").read_text(encoding="utf-8"))


def test_every_operation_describes_the_statuses_of_the_gateway() -> None:
    of_bodies, of_paths = {413}, {404}  # one needs a body, the other a path that is not here
    told = {reply.status for reply in REPLIES if reply.status} | {403, 429}  # the gateway's own for these two
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            left_out = of_paths if "requestBody" in operation else of_bodies | of_paths
            assert {str(status) for status in told - left_out} <= set(operation["responses"])
