"""Anthropic's own SDKs, unmodified, through both entrances of the deployed local stack."""

import pytest

from tests.conformance.case import Case
from tests.conformance.combinations import combinations
from tests.conformance.roster import SDKS, Feature


@pytest.mark.parametrize(("client", "feature", "entrance"), combinations(SDKS))
def test_the_sdk_gets_what_claude_gives(case: Case, feature: Feature) -> None:
    feature.story(case)
