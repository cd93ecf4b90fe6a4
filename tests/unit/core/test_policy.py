"""The precedence of DESIGN section 7, pair by pair."""

from typing import NamedTuple

import pytest

from cost_router.core.errors import InvalidRequest, RuleRefused
from cost_router.core.policy import Bound, Decision, Wish, decide
from cost_router.core.words import Label, Tier
from tests.builders import lineup, model

H, S, O = Tier.HAIKU, Tier.SONNET, Tier.OPUS  # noqa: E741  the three tiers, in a table
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
OUTSIDE = "claude-sonnet-4-6"  # in the catalogue, not in the lineup


class Case(NamedTuple):
    story: str
    wish: Wish
    expected: tuple[str, str]
    floors: tuple[Bound, ...] = ()
    ceilings: tuple[Bound, ...] = ()
    unable: tuple[str, ...] = ()


def labelled(label: Label) -> Wish:
    return Wish(label.tier, "classifier")


def pinned(tier: Tier, name: str | None = None) -> Wish:
    return Wish(tier, "pinned", model(name) if name else None)


SIMPLE, MODERATE, COMPLEX = map(labelled, Label)
FLOOR, TENANT_FLOOR, CEILING, TENANT_CEILING = "floor", "tenant-floor", "ceiling", "tenant-ceiling"

CASES = [
    Case("label simple -> haiku", SIMPLE, (HAIKU, "classifier")),
    Case("label moderate -> sonnet", MODERATE, (SONNET, "classifier")),
    Case("label complex -> opus", COMPLEX, (OPUS, "classifier")),
    Case("pinned tier", pinned(S), (SONNET, "pinned")),
    Case("pinned model of the lineup", pinned(O, OPUS), (OPUS, "pinned")),
    Case("pinned model outside the lineup", pinned(S, OUTSIDE), (OUTSIDE, "pinned")),
    Case("floor > label", SIMPLE, (SONNET, "rule:floor"), (Bound(S, FLOOR),)),
    Case("floor below the label is silent", COMPLEX, (OPUS, "classifier"), (Bound(S, FLOOR),)),
    Case("floor > pinned tier", pinned(H), (OPUS, "rule:floor"), (Bound(O, FLOOR),)),
    Case("floor > pinned model outside", pinned(S, OUTSIDE), (OPUS, "rule:floor"), (Bound(O, FLOOR),)),
    Case("tenant floor > label", SIMPLE, (OPUS, "rule:tenant-floor"), (Bound(O, TENANT_FLOOR),)),
    Case("highest floor wins", SIMPLE, (OPUS, "rule:tenant-floor"), (Bound(S, FLOOR), Bound(O, TENANT_FLOOR))),
    Case("highest floor wins, other way", SIMPLE, (OPUS, "rule:floor"), (Bound(O, FLOOR), Bound(S, TENANT_FLOOR))),
    Case("ceiling > label", COMPLEX, (SONNET, "rule:ceiling"), (), (Bound(S, CEILING),)),
    Case("ceiling above the label is silent", SIMPLE, (HAIKU, "classifier"), (), (Bound(S, CEILING),)),
    Case("ceiling > pinned tier", pinned(O), (HAIKU, "rule:ceiling"), (), (Bound(H, CEILING),)),
    Case("ceiling > pinned model outside", pinned(S, OUTSIDE), (HAIKU, "rule:ceiling"), (), (Bound(H, CEILING),)),
    Case("tenant ceiling > label", COMPLEX, (HAIKU, "rule:tenant-ceiling"), (), (Bound(H, TENANT_CEILING),)),
    Case(
        "lowest ceiling wins",
        COMPLEX,
        (HAIKU, "rule:tenant-ceiling"),
        (),
        (Bound(S, CEILING), Bound(H, TENANT_CEILING)),
    ),
    Case(
        "lowest ceiling wins, other way",
        COMPLEX,
        (HAIKU, "rule:ceiling"),
        (),
        (Bound(H, CEILING), Bound(S, TENANT_CEILING)),
    ),
    Case(
        "floor == ceiling fixes the tier, from below",
        SIMPLE,
        (SONNET, "rule:floor"),
        (Bound(S, FLOOR),),
        (Bound(S, CEILING),),
    ),
    Case(
        "floor == ceiling fixes the tier, from above",
        COMPLEX,
        (SONNET, "rule:ceiling"),
        (Bound(S, FLOOR),),
        (Bound(S, CEILING),),
    ),
    Case(
        "pinned inside floor..ceiling stays",
        pinned(S, OUTSIDE),
        (OUTSIDE, "pinned"),
        (Bound(S, FLOOR),),
        (Bound(S, CEILING),),
    ),
    Case("capability > label", SIMPLE, (SONNET, "rule:images"), (), (), (HAIKU,)),
    Case("capability > pinned tier", pinned(H), (SONNET, "rule:images"), (), (), (HAIKU,)),
    Case(
        "capability > pinned model: same tier of the lineup",
        pinned(S, OUTSIDE),
        (SONNET, "rule:images"),
        (),
        (),
        (OUTSIDE,),
    ),
    Case("capability > label from the top", COMPLEX, (SONNET, "rule:images"), (), (), (OPUS,)),
    Case("of two tiers equally near, the higher one", MODERATE, (OPUS, "rule:images"), (), (), (SONNET,)),
    Case(
        "of two tiers equally near, the allowed one",
        MODERATE,
        (HAIKU, "rule:images"),
        (),
        (Bound(S, CEILING),),
        (SONNET,),
    ),
    Case("capability > floor's own tier", SIMPLE, (OPUS, "rule:floor"), (Bound(S, FLOOR),), (), (SONNET,)),
    Case("default label", Wish(S, "default"), (SONNET, "default")),
]


def decided(case: Case) -> Decision:
    unable = dict.fromkeys(case.unable, "images")
    return decide(case.wish, lineup(), floors=case.floors, ceilings=case.ceilings, unable=unable)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.story)
def test_precedence(case: Case) -> None:
    choice = decided(case).choice
    assert (choice.model.id, choice.cause) == case.expected


@pytest.mark.parametrize("wish", [SIMPLE, COMPLEX, pinned(H), pinned(O), pinned(S, OUTSIDE)])
@pytest.mark.parametrize("floor", [FLOOR, TENANT_FLOOR])
@pytest.mark.parametrize("ceiling", [CEILING, TENANT_CEILING])
def test_a_ceiling_below_a_floor_is_refused_by_the_name_of_the_ceiling(wish: Wish, floor: str, ceiling: str) -> None:
    with pytest.raises(
        RuleRefused, match=f"{ceiling} allows haiku at the most, but {floor} asks for sonnet"
    ) as refused:
        decide(wish, lineup(), floors=[Bound(S, floor)], ceilings=[Bound(H, ceiling)])
    assert refused.value.rule == ceiling


def test_a_ceiling_below_the_lowest_able_tier_is_refused_by_its_name() -> None:
    with pytest.raises(
        RuleRefused, match="ceiling allows haiku at the most, which cannot take this: images"
    ) as refused:
        decide(SIMPLE, lineup(), ceilings=[Bound(H, CEILING)], unable={HAIKU: "images"})
    assert refused.value.rule == CEILING


def test_a_request_that_no_model_can_take_is_invalid() -> None:
    unable = {HAIKU: "images", SONNET: "context-window", OPUS: "context-window"}
    with pytest.raises(
        InvalidRequest, match="no model from haiku to opus can take this request: context-window, images"
    ):
        decide(SIMPLE, lineup(), unable=unable)


def test_a_floor_above_every_able_tier_is_invalid_not_lowered() -> None:
    with pytest.raises(InvalidRequest, match="no model from opus to opus"):
        decide(SIMPLE, lineup(), floors=[Bound(O, FLOOR)], unable={OPUS: "images"})


FALLBACKS = [
    (COMPLEX, (), (), (), [SONNET, HAIKU]),
    (MODERATE, (), (), (), [HAIKU]),
    (SIMPLE, (), (), (), [SONNET]),  # nothing below haiku: one up
    (COMPLEX, (Bound(S, FLOOR),), (), (), [SONNET]),
    (COMPLEX, (Bound(O, FLOOR),), (), (), []),
    (MODERATE, (Bound(S, FLOOR),), (), (), []),
    (SIMPLE, (), (Bound(S, CEILING),), (), [SONNET]),
    (SIMPLE, (), (Bound(H, CEILING),), (), []),
    (COMPLEX, (), (), (SONNET,), [HAIKU]),
    (SIMPLE, (), (), (SONNET,), []),
    (pinned(S, OUTSIDE), (), (), (), [HAIKU]),
    (pinned(O), (Bound(S, TENANT_FLOOR),), (), (), [SONNET]),
]


@pytest.mark.parametrize(("wish", "floors", "ceilings", "unable", "expected"), FALLBACKS)
def test_fallbacks_go_down_the_chain_within_the_bounds(
    wish: Wish, floors: tuple[Bound, ...], ceilings: tuple[Bound, ...], unable: tuple[str, ...], expected: list[str]
) -> None:
    found = decided(Case("", wish, ("", ""), floors, ceilings, unable))
    assert [choice.model.id for choice in found.fallbacks] == expected
    assert {choice.cause for choice in found.fallbacks} <= {f"fallback:{found.choice.tier.word}"}
