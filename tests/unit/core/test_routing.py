"""Settings of routing: what is read, and that whatever else is refused by name."""

from typing import Any

import pytest

from cost_router.core.routing import Candidate, Routing, Rung
from cost_router.core.words import Label, Tier


def test_all_settings_are_read() -> None:
    made = Routing.parse(
        {
            "rules_off": ["housekeeping", "follow-up"],
            "preclassifier": "default",
            "ladder": {"moderate": {"tier": "sonnet", "effort": "low"}, "complex": {"tier": "sonnet"}},
            "max_tokens": {"simple": 256},
            "prompt_caching": True,
            "sessions": False,
            "candidate": {"mode": "canary", "percent": 10, "lineup": "article", "preclassifier": "none"},
        }
    )
    assert made.rules_off == {"housekeeping", "follow-up"}
    assert (made.preclassifier, made.prompt_caching, made.sessions) == ("default", True, False)
    assert made.rung(Label.MODERATE) == Rung(Tier.SONNET, "low")
    assert made.rung(Label.COMPLEX) == Rung(Tier.SONNET)
    assert made.max_tokens == {Label.SIMPLE: 256}
    assert made.candidate == Candidate("canary", 10, "article", None, "none")


@pytest.mark.parametrize("given", [{}, {"ladder": None, "candidate": None, "sessions": None}])
def test_what_is_left_out_or_null_is_as_without_settings(given: dict[str, Any]) -> None:
    assert Routing.parse(given) == Routing()
    assert [Routing().rung(label).tier for label in Label] == [Tier.HAIKU, Tier.SONNET, Tier.OPUS]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "routing: []; accepted: an object with rules_off, preclassifier"),
        ("canary", "routing: 'canary'"),
        (None, "routing: None"),
        ({"rule_off": []}, "routing: 'rule_off' is unknown; accepted: rules_off"),
        ({"rules_off": "housekeeping"}, "rules_off: 'housekeeping'; accepted: a list of follow-up"),
        ({"rules_off": [["planning"]]}, "rules_off: ['planning']; accepted: follow-up"),
        ({"rules_off": [{}]}, "rules_off: {}"),
        ({"preclassifier": 1}, "preclassifier: 1; accepted: a name"),
        ({"preclassifier": ""}, "preclassifier: ''"),
        ({"ladder": {"hard": {}}}, "ladder: 'hard' is unknown; accepted: simple, moderate, complex"),
        ({"ladder": {"simple": "haiku"}}, "ladder.simple: 'haiku'; accepted: an object with tier, effort"),
        ({"ladder": {"simple": {}}}, "ladder.simple.tier: None; accepted: haiku, sonnet, opus"),
        ({"ladder": {"simple": {"tier": ["haiku"]}}}, "ladder.simple.tier: ['haiku']"),
        (
            {"ladder": {"simple": {"tier": "haiku", "effort": "little"}}},
            "ladder.simple.effort: 'little'; accepted: low",
        ),
        ({"max_tokens": {"simple": 0}}, "max_tokens.simple: 0; accepted: a whole number from 1 to 1000000"),
        ({"max_tokens": {"simple": True}}, "max_tokens.simple: True"),
        ({"max_tokens": {"simple": 2.0}}, "max_tokens.simple: 2.0"),
        ({"prompt_caching": "on"}, "prompt_caching: 'on'; accepted: true, false"),
        ({"sessions": 1}, "sessions: 1; accepted: true, false"),
        ({"candidate": "article"}, "candidate: 'article'; accepted: an object with mode"),
        ({"candidate": {"percent": 1, "lineup": "a"}}, "candidate.mode: None; accepted: shadow, canary"),
        ({"candidate": {"mode": "shadow", "lineup": "a"}}, "candidate.percent: None; accepted: a whole number from 1"),
        ({"candidate": {"mode": "shadow", "percent": 0, "lineup": "a"}}, "candidate.percent: 0"),
        ({"candidate": {"mode": "shadow", "percent": 101, "lineup": "a"}}, "candidate.percent: 101"),
        ({"candidate": {"mode": "shadow", "percent": 5}}, "candidate: it changes nothing; accepted: one of lineup"),
        ({"candidate": {"mode": "shadow", "percent": 5, "rubric": "r"}}, "candidate.rubric: 'r'; accepted: an object"),
        ({"candidate": {"mode": "shadow", "percent": 5, "lineup": {}}}, "candidate.lineup: {}; accepted: a name"),
    ],
)
def test_a_wrong_setting_is_quoted_with_what_is_accepted(value: object, said: str) -> None:
    with pytest.raises(ValueError, match="accepted") as error:
        Routing.parse(value)
    assert said in str(error.value)
