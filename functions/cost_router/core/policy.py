"""Which tier a request runs on: one pure function, in the precedence of DESIGN section 7.

Capability > floors (highest wins) > ceilings (lowest wins) > pinned choice > the label's tier. What contradicts itself
is refused by name, never resolved silently. The bounds of the decision hold for its fallbacks too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cost_router.core.catalogue import Lineup, Model
from cost_router.core.errors import InvalidRequest, RuleRefused
from cost_router.core.words import Tier


@dataclass(frozen=True, slots=True)
class Bound:
    """A floor or ceiling and the name of the rule that set it."""

    tier: Tier
    rule: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request would run on if no bound spoke: a pinned model, a pinned tier, or the label's tier."""

    tier: Tier
    cause: str
    model: Model | None = None  # set when the caller pinned an exact model


@dataclass(frozen=True, slots=True)
class Choice:
    """A model to call and why."""

    model: Model
    tier: Tier
    cause: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The choice, and what is tried in its place, in order, when Claude cannot serve it."""

    choice: Choice
    fallbacks: tuple[Choice, ...]


def decide(
    wish: Wish,
    lineup: Lineup,
    *,
    floors: Iterable[Bound] = (),
    ceilings: Iterable[Bound] = (),
    unable: Mapping[str, str] | None = None,
) -> Decision:
    """Choose the model for `wish` within the bounds.

    unable: model id -> name of the capability rule that it breaks. Raises `RuleRefused` when a ceiling is below a floor
    or below the lowest tier that can take the request, `InvalidRequest` when no model that may serve it can take it.
    """
    unable = unable or {}
    floor = max(floors, key=lambda bound: bound.tier, default=Bound(Tier.HAIKU, "lowest"))
    ceiling = min(ceilings, key=lambda bound: bound.tier, default=Bound(Tier.OPUS, "highest"))
    if ceiling.tier < floor.tier:
        raise RuleRefused(
            ceiling.rule,
            f"{ceiling.rule} allows {ceiling.tier.word} at the most, but {floor.rule} asks for "
            f"{floor.tier.word} at the least",
        )
    allowed = [tier for tier in Tier if floor.tier <= tier <= ceiling.tier and lineup.models[tier].id not in unable]
    choice = _choose(wish, lineup, allowed, floor, ceiling, unable)
    return Decision(choice, tuple(_fallbacks(choice, lineup, allowed)))


def _choose(  # noqa: PLR0913, PLR0917  all that a decision rests on
    wish: Wish, lineup: Lineup, allowed: list[Tier], floor: Bound, ceiling: Bound, unable: Mapping[str, str]
) -> Choice:
    model = wish.model or lineup.models[wish.tier]
    in_bounds = floor.tier <= wish.tier <= ceiling.tier
    if in_bounds and model.id not in unable:
        return Choice(model, wish.tier, wish.cause)
    if not allowed:
        raise _nobody(lineup, floor, ceiling, unable)
    nearest = min(allowed, key=lambda tier: (abs(tier - wish.tier), -tier))
    rule = _mover(wish, model, floor, ceiling, unable)
    return Choice(lineup.models[nearest], nearest, rule if rule.startswith("budget:") else f"rule:{rule}")


def _mover(wish: Wish, model: Model, floor: Bound, ceiling: Bound, unable: Mapping[str, str]) -> str:
    """The rule that keeps the wish from being served."""
    if wish.tier < floor.tier:
        return floor.rule
    return ceiling.rule if wish.tier > ceiling.tier else unable[model.id]


def _nobody(lineup: Lineup, floor: Bound, ceiling: Bound, unable: Mapping[str, str]) -> Exception:
    rules = sorted({unable[model.id] for model in lineup.models.values() if model.id in unable})
    if any(tier > ceiling.tier and lineup.models[tier].id not in unable for tier in Tier):
        return RuleRefused(
            ceiling.rule,
            f"{ceiling.rule} allows {ceiling.tier.word} at the most, which cannot take this: {', '.join(rules)}",
        )
    return InvalidRequest(
        f"no model from {floor.tier.word} to {ceiling.tier.word} can take this request: {', '.join(rules)}"
    )


def _fallbacks(choice: Choice, lineup: Lineup, allowed: list[Tier]) -> Iterable[Choice]:
    """Down the chain, never below the floor; from haiku, which has nothing below, up to sonnet."""
    below = [tier for tier in sorted(allowed, reverse=True) if tier < choice.tier]
    above = [Tier.SONNET] if choice.tier is Tier.HAIKU and Tier.SONNET in allowed else []
    for tier in below or above:
        yield Choice(lineup.models[tier], tier, f"fallback:{choice.tier.word}")
