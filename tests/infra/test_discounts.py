"""The operator's file of discounts: checked strictly, frozen into the bundle, in force in the deployed code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.aws.app import synth
from infra.aws.config import BadConfig, Config
from infra.catalogue.discounts import BadDiscounts, read_discounts

GOOD = '{"claude-opus-5-5": {"percent": "12.5", "from": "2026-10-01"}}'
PRICE = """
import sys; sys.path.insert(0, sys.argv[1])
import datetime as dt
from cost_router.core import pricing
from cost_router.core.catalogue import Catalogue
from cost_router.handlers.wiring import data
model = Catalogue(data("catalogue.json"), data("discounts.json", missing={})).model("claude-opus-5-5")
print(pricing.cost(model, pricing.Usage(input_tokens=1_000_000), on=dt.date(2026, 10, 1)))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "discounts.json"


def test_a_good_file_is_read(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    assert read_discounts(file) == {"claude-opus-5-5": {"percent": "12.5", "from": "2026-10-01"}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Expecting property name"),
        ("[]", r"\[\] is no object of models"),
        ("{}", r"\{\} is no object of models"),
        ('{"gpt": {"percent": "1", "from": "2026-10-01"}}', "model 'gpt' is not one of claude-haiku-5-5, "),
        ('{"claude-opus-5-5": "12.5"}', "claude-opus-5-5: '12.5' is no object of percent and from"),
        ('{"claude-opus-5-5": {"percent": "1"}}', "is no object of percent and from"),
        ('{"claude-opus-5-5": {"percent": "1", "from": "2026-10-01", "to": "x"}}', "is no object of percent and from"),
        *(
            (GOOD.replace('"12.5"', value), rf"claude-opus-5-5.percent: {shown} is no decimal string above 0 and below")
            for value, shown in (
                ('"0"', "'0'"),
                ('"-1"', "'-1'"),
                ('"100"', "'100'"),
                ("12.5", "12.5"),
                ('"NaN"', "'NaN'"),
                ('"a lot"', "'a lot'"),
            )
        ),
        *(
            (GOOD.replace('"2026-10-01"', value), f"claude-opus-5-5.from: {shown} is no day YYYY-MM-DD")
            for value, shown in (('"1 October"', "'1 October'"), ('"20261001"', "'20261001'"), ("null", "None"))
        ),
        (f"{GOOD[:-1]}, {GOOD[1:]}", "'claude-opus-5-5' is there more than once"),
    ],
)
def test_a_bad_file_is_quoted_with_what_is_accepted(file: Path, text: str, says: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadDiscounts, match=rf"^discounts '.*discounts\.json': .*{says}.*; accepted: \{{\"MODEL\""):
        read_discounts(file)


@pytest.mark.parametrize("percent", ["0.01", "99.99"])
def test_any_percentage_between_nothing_and_all_is_accepted(file: Path, percent: str) -> None:
    file.write_text(GOOD.replace("12.5", percent), encoding="utf-8")
    assert read_discounts(file)["claude-opus-5-5"]["percent"] == percent


def test_a_file_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(BadConfig, match=r"context discounts='/nowhere\.json'; accepted: path of a JSON file"):
        Config.from_context({"discounts": "/nowhere.json"})


def test_a_bad_file_ends_the_synthesis(file: Path, tmp_path: Path) -> None:
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(BadDiscounts):
        synth(Config(discounts=str(file)), tmp_path / "out", bundling=False)


def test_the_bundles_code_prices_with_the_frozen_discounts(file: Path, tmp_path: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    synth(Config(streaming=False, local=True, discounts=str(file)), tmp_path / "out")
    (asset,) = (tmp_path / "out").glob("asset.*")
    frozen = json.loads((asset / "cost_router" / "data" / "discounts.json").read_text(encoding="utf-8"))
    assert frozen == json.loads(GOOD)
    done = subprocess.run([sys.executable, "-c", PRICE, str(asset)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().rstrip("0").rstrip(".") == "3.5"
