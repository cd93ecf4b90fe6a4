"""The shipped pre-classifier and the data that it is trained on."""

import json

import pytest

from cost_router.core.preclassifier import Preclassifier
from cost_router.core.words import Label
from cost_router.handlers import wiring
from infra.quality.build import SHIPPED
from infra.quality.figures import figures
from infra.quality.public import FILES, FOLDER
from infra.quality.report import MOST_BYTES
from infra.quality.rows import Row, read_rows
from infra.quality.splits import held_out


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows([*FILES.values()])


def test_the_data_are_all_there_with_their_licences(rows: list[Row]) -> None:
    assert len(rows) == 1_270 + 788 + 8_871
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(path.name in readme for path in FILES.values())
    assert readme.count("MIT") >= 3


def test_its_stated_figures_are_what_held_out_prompts_give(rows: list[Row]) -> None:
    data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    found = figures(Preclassifier.parse(data), [row for row in rows if held_out(row.prompt)])
    assert found == data["held_out"]
    assert found["agreement"]["interval"][0] >= data["agreement"]
    assert 0 < found["coverage"] < 1


def test_it_is_small_and_is_what_is_deployed() -> None:
    assert SHIPPED.stat().st_size < MOST_BYTES
    model = Preclassifier.parse(wiring.data("preclassifier.json"))
    assert model.lone
    assert set(model.thresholds) == {Label.SIMPLE}


def test_it_ranks_better_than_length_on_held_out_prompts_that_it_was_not_trained_on(rows: list[Row]) -> None:
    """Chances that a prompt which the cheap model fails on ranks above one that it does not: of pairs of MMLU."""
    model = Preclassifier.parse(wiring.data("preclassifier.json"))
    held = [row for row in rows if row.subject and held_out(row.prompt)]
    gains = {True: [], False: []}  # type: dict[bool, list[tuple[float, int]]]
    for row in held:
        gains[row.correct["strong"] > row.correct["weak"]].append((model.score(row.excerpt), len(row.prompt)))

    def above(place: int) -> float:
        pairs = [(gain[place], none[place]) for gain in gains[True][:200] for none in gains[False][:400]]
        return sum(gain > none for gain, none in pairs) / len(pairs)

    assert above(0) > above(1) > 0.5


def test_the_page_tells_the_figures_of_the_shipped_model() -> None:
    data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    page = (SHIPPED.parents[3] / "docs" / "routing-quality.md").read_text(encoding="utf-8")
    held, agreement = data["held_out"], data["held_out"]["agreement"]
    low, high = (f"{100 * edge:.1f} %" for edge in agreement["interval"])
    assert f"{data['trained_on']['rows']:,} of the prompts; {held['rows']:,} others" in page
    assert f"{100 * held['coverage']:.1f} %, nearly all" in page
    assert f"{100 * agreement['value']:.1f} % [{low}, {high}] of {agreement['n']}" in page
    assert f"{100 * data['agreement']:.0f} %" in page
