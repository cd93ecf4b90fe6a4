"""How requests are decided, as far as an operator may change it while the deployment runs: `cost-router routing set`.

The settings are one JSON object; what is left out is as it is without settings:

{"rules_off": ["housekeeping"],                             rules that are not asked (`core/rules.py`)
 "preclassifier": "default",                                the local model that labels first; `default` is the shipped
                                                            one, anything else the id of one that was put there
 "ladder": {"moderate": {"tier": "sonnet", "effort": "low"}},   tier and effort of a label
 "max_tokens": {"simple": 256},                             ceilings by label, for callers who allow them
 "prompt_caching": true,                                    mark long system prompts and tools for the cache
 "sessions": false,                                         leave a warm cache whatever that costs
 "candidate": {"mode": "canary", "percent": 10,             another way to decide: on a share of the conversations
               "lineup": "article", "rubric": {...}, "preclassifier": "default"}}   or in `shadow`, which only looks

Without `candidate` everything is decided the usual way: that one setting rolls a canary back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cost_router.core.adapting import EFFORTS
from cost_router.core.errors import quoted
from cost_router.core.rules import RULES
from cost_router.core.words import TIER_WORDS, Label, Tier

SHADOW: Final = "shadow"
CANARY: Final = "canary"
MODES: Final = (SHADOW, CANARY)
DEFAULT_MODEL: Final = "default"
NONE: Final = "none"  # of a candidate: without the pre-classifier that the others have
ALL: Final = 100  # percent
MOST_TOKENS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rung:
    """Where a label runs: its tier, and the effort that its model is asked for where the caller asks for none."""

    tier: Tier
    effort: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another way to decide, tried on real traffic. What is None is as it is for everybody else."""

    mode: str  # "shadow": it decides, is written down and changes nothing; "canary": it decides
    percent: int  # of the conversations, 1 to 100
    lineup: str | None = None
    rubric: Mapping[str, Any] | None = field(default=None, hash=False)  # as `data/rubric.json`
    preclassifier: str | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """What an operator has set."""

    rules_off: frozenset[str] = frozenset()
    preclassifier: str | None = None
    ladder: Mapping[Label, Rung] = field(default_factory=dict)
    max_tokens: Mapping[Label, int] = field(default_factory=dict)
    prompt_caching: bool = False
    sessions: bool = True
    candidate: Candidate | None = None

    def rung(self, label: Label) -> Rung:
        """Where a label runs."""
        return self.ladder.get(label) or Rung(label.tier)

    @classmethod
    def parse(cls, value: object) -> "Routing":
        """The settings in a JSON value; raises `ValueError` that quotes what is wrong and says what is accepted."""
        given = _members("routing", value, tuple(_READERS))
        return cls(**{name: _READERS[name](name, part) for name, part in given.items()})


def _members(name: str, value: object, accepted: tuple[str, ...]) -> Mapping[str, Any]:
    """The members of an object that are not null."""
    if not isinstance(value, Mapping):
        raise _wrong(name, value, f"an object with {', '.join(accepted)}")
    for key in value:
        if key not in accepted:
            raise ValueError(f"{name}: {quoted(key)} is unknown; accepted: {', '.join(accepted)}")
    return {key: part for key, part in value.items() if part is not None}


def _rules(name: str, value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise _wrong(name, value, f"a list of {', '.join(RULES)}")
    for rule in value:
        if rule not in RULES:
            raise _wrong(name, rule, ", ".join(RULES))
    return frozenset(value)


def _ladder(name: str, value: object) -> dict[Label, Rung]:
    return {Label(label): _rung(f"{name}.{label}", rung) for label, rung in _members(name, value, tuple(Label)).items()}


def _rung(name: str, value: object) -> Rung:
    given = _members(name, value, ("tier", "effort"))
    return Rung(
        Tier.parse(_one_of(f"{name}.tier", given.get("tier"), TIER_WORDS)),
        _one_of(f"{name}.effort", given["effort"], EFFORTS) if "effort" in given else None,
    )


def _ceilings(name: str, value: object) -> dict[Label, int]:
    found = _members(name, value, tuple(Label))
    return {Label(label): _whole(f"{name}.{label}", most, MOST_TOKENS) for label, most in found.items()}


def _candidate(name: str, value: object) -> Candidate:
    given = _members(name, value, ("mode", "percent", "lineup", "rubric", "preclassifier"))
    rubric = given.get("rubric")
    if not isinstance(rubric, Mapping | None):
        raise _wrong(f"{name}.rubric", rubric, "an object as in data/rubric.json")
    found = Candidate(
        mode=_one_of(f"{name}.mode", given.get("mode"), MODES),
        percent=_whole(f"{name}.percent", given.get("percent"), ALL),
        lineup=_text(f"{name}.lineup", given["lineup"]) if "lineup" in given else None,
        rubric=rubric,
        preclassifier=_text(f"{name}.preclassifier", given["preclassifier"]) if "preclassifier" in given else None,
    )
    if (found.lineup, found.rubric, found.preclassifier) == (None, None, None):
        raise ValueError(f"{name}: it changes nothing; accepted: one of lineup, rubric, preclassifier at the least")
    return found


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise _wrong(name, value, "a name")


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(name, value, "true, false")


def _whole(name: str, value: object, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
        return value
    raise _wrong(name, value, f"a whole number from 1 to {most}")


def _one_of(name: str, value: object, accepted: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in accepted:
        return value
    raise _wrong(name, value, ", ".join(accepted))


def _wrong(name: str, value: object, accepted: str) -> ValueError:
    return ValueError(f"{name}: {quoted(value)}; accepted: {accepted}")


_READERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "rules_off": _rules,
    "preclassifier": _text,
    "ladder": _ladder,
    "max_tokens": _ceilings,
    "prompt_caching": _flag,
    "sessions": _flag,
    "candidate": _candidate,
}
