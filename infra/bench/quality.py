"""The quality of routing on public outcomes: the pre-classifier beside the policies it has to beat."""

import statistics
from typing import Final

from infra.bench.measures import Measure
from infra.quality.build import SHIPPED
from infra.quality.policies import KEYWORDS, LENGTH, ORACLE, PRECLASSIFIER, RANDOM
from infra.quality.public import UNSEEN, Found, Lab
from infra.quality.report import microseconds
from infra.quality_cli import read_model

LONGEST: Final = 200  # prompts
A_MILLISECOND: Final = 1_000.0  # the most that a prompt may take, in microseconds
ROUNDS: Final = 5


def quality() -> list[Measure]:
    """APGR of the pre-classifier on prompts, subjects and sets that it has not been trained on, and what it takes."""
    lab = Lab.read()
    found = {**lab.known(), UNSEEN: lab.unseen_subjects()}
    others = {f"{name}_from_other_sets": one for name, one in lab.other_sets().items()}
    model = read_model(SHIPPED)
    texts = sorted((row.excerpt for row in lab.rows), key=len)[-LONGEST:]
    longest = statistics.median(microseconds(model, texts) for _ in range(ROUNDS))
    usual = statistics.median(microseconds(model, [row.excerpt for row in lab.rows[::20]]) for _ in range(ROUNDS))
    told = (
        f"CPU of the {LONGEST} longest of {len(lab.rows)} prompts, median of {ROUNDS}; {usual:.0f} us for the usual one"
    )
    return [
        *(_measure(name, one) for name, one in {**found, **others}.items()),
        Measure("quality.preclassifier_us", longest, "us", A_MILLISECOND, told),
    ]


def _measure(name: str, found: Found) -> Measure:
    """A set's measure; the target is the length of the prompt, in the same run."""
    ours = found.policies[PRECLASSIFIER]
    others = ", ".join(f"{policy} {found.policies[policy].apgr}" for policy in (RANDOM, LENGTH, KEYWORDS, ORACLE))
    against = (
        f"{ours.apgr}, over length {ours.over_length}; {others}; n = {found.prompts}; dear calls for 95 % of the dear "
        f"model's quality {ours.share}, by length {found.policies[LENGTH].share}, by the oracle "
        f"{found.policies[ORACLE].share}"
    )
    return Measure(
        f"quality.apgr.{name}", ours.apgr.value, "", round(found.policies[LENGTH].apgr.value, 4), against, least=True
    )
