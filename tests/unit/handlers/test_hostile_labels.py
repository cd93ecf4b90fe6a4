"""Whatever label comes back, a request never leaves its bounds: a hostile ask can choose a tier, not a bill."""

import itertools

import pytest

from cost_router.core.words import Tier
from tests.builders import World, message_body, tenant
from tests.unit.handlers.client import post

LABELS = ("simple", "moderate", "complex", "gigantic", "", None, ["complex"], {"label": "complex"}, 3)
BOUNDS = [(floor, ceiling) for floor, ceiling in itertools.product((None, *Tier), repeat=2)]


@pytest.mark.parametrize(("floor", "ceiling"), BOUNDS)
def test_no_label_passes_the_ceiling_or_floor_of_a_tenant_or_of_a_request(
    floor: Tier | None, ceiling: Tier | None
) -> None:
    lowest, highest = floor or Tier.HAIKU, ceiling or Tier.OPUS
    words = {name: tier.word for name, tier in (("floor", floor), ("ceiling", ceiling)) if tier}
    for label, path in itertools.product(LABELS, ("/v1/messages", "/v1/route")):
        for world, body in (
            (World(tenant(floor=floor, ceiling=ceiling), label=label), message_body("hello there")),
            (World(label=label), message_body("hello there", router=words)),
        ):
            found = post(world, body, path)
            if lowest > highest:
                assert found.status_code in {400, 429}  # of the caller's own making, or the tenant's
                assert world.claude.calls == []
                continue
            assert found.status_code == 200, found.text
            assert lowest <= Tier.parse(found.headers["x-router-tier"]) <= highest
            used = [world.router.lineup.models[tier].id for tier in Tier if lowest <= tier <= highest]
            assert set(world.claude.answer_models) <= set(used)
