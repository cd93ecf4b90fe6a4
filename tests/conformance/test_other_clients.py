"""Frameworks, Claude Code and plain HTTP, through both entrances of the deployed local stack."""

import pytest

from tests.conformance.case import Case
from tests.conformance.combinations import combinations
from tests.conformance.roster import OTHERS, Feature


@pytest.mark.parametrize(("client", "feature", "entrance"), combinations(OTHERS))
def test_the_client_gets_what_claude_gives(case: Case, feature: Feature) -> None:
    feature.story(case)
