"""What the build and the synthesis refuse or warn about: prices, their age, models that are going."""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.aws import app
from infra.aws.app import synth
from infra.aws.config import Config
from infra.catalogue import build, lifecycle
from infra.catalogue.findings import CATALOGUE, FAIL, WARN, CatalogueProblem, check, lineup_findings

DAY = dt.date(2026, 11, 24)
LINEUP = {"next": {"haiku": "small", "classifier": "small"}}
RELEASED = "2026-11-10"


def row(processing: str, since: str = "2026-10-14", speed: str = "standard") -> dict[str, str]:
    return {"from": since, "processing": processing, "speed": speed}


def catalogue(*rows: Mapping[str, str], **more: Any) -> dict[str, Any]:
    prices = list(rows or (row("realtime"), row("batch")))
    return {"source": "genai-prices 0.2.3", "prices_as_of": RELEASED, "models": {"small": {"prices": prices, **more}}}


def told(found: Mapping[str, Any], today: dt.date = DAY) -> list[tuple[str, str]]:
    return [(finding.level, finding.says) for finding in lineup_findings(found, LINEUP, today)]


def test_a_lineup_with_prices_in_force_has_nothing_to_be_told() -> None:
    assert told(catalogue()) == []


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([row("batch")], "realtime"),
        ([row("realtime")], "batch"),
        ([row("realtime", speed="fast"), row("batch")], "realtime"),
        ([row("realtime", "2026-11-25"), row("batch")], "realtime"),
    ],
)
def test_a_model_without_a_price_in_force_fails_by_name_and_use(rows: list[dict[str, str]], missing: str) -> None:
    uses = "haiku of lineup next, classifier of lineup next"
    [(level, says)] = told(catalogue(*rows))
    assert (level, says) == (FAIL, f"model 'small' ({uses}) has no {missing} price in force on 2026-11-24")


def test_a_price_is_in_force_on_its_first_day() -> None:
    assert told(catalogue(row("realtime", "2026-11-24"), row("batch", "2026-11-24"))) == []


def test_a_model_that_is_not_in_the_catalogue_fails() -> None:
    [(level, says)] = told(catalogue() | {"models": {}})
    assert level == FAIL
    assert "'small'" in says


@pytest.mark.parametrize(
    ("today", "level", "says"),
    [
        (dt.date(2026, 11, 29), WARN, "deprecated and will be retired on 2026-11-30"),
        (dt.date(2026, 11, 30), FAIL, "was retired on 2026-11-30: choose another"),
    ],
)
def test_a_deprecated_model_warns_until_the_day_it_is_retired(today: dt.date, level: str, says: str) -> None:
    [found] = told(catalogue(retires_on="2026-11-30"), today)
    assert found[0] == level
    assert says in found[1]


def test_prices_are_old_after_thirty_days() -> None:
    assert told(catalogue(), dt.date(2026, 12, 10)) == []
    [(level, says)] = told(catalogue(), dt.date(2026, 12, 11))
    assert level == WARN
    assert "genai-prices 0.2.3, released on 2026-11-10, 31 days ago" in says


def test_what_fails_is_raised_and_what_warns_is_given_back() -> None:
    warnings = lineup_findings(catalogue(retires_on="2027-01-01"), LINEUP, DAY)
    assert check(warnings) == warnings
    with pytest.raises(CatalogueProblem, match="no batch price in force"):
        check(lineup_findings(catalogue(row("realtime")), LINEUP, DAY))


# --- the build


def test_the_build_warns_about_old_prices_and_still_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "catalogue.json"
    assert build.main(["--out", str(out)], today=dt.date(2026, 12, 11)) == 0
    assert "catalogue: warning: prices are those of genai-prices 0.2.3" in capsys.readouterr().err
    assert out.is_file()


@pytest.mark.parametrize(
    ("today", "code", "says"),
    [
        (
            dt.date(2026, 10, 13),
            1,
            "catalogue: model 'claude-haiku-5-5' (haiku of lineup current, classifier of lineup",
        ),
        (dt.date(2026, 10, 14), 0, ""),
    ],
)
def test_the_build_fails_on_a_day_without_a_batch_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], today: dt.date, code: int, says: str
) -> None:
    out = tmp_path / "catalogue.json"
    assert build.main(["--out", str(out)], today=today) == code
    assert capsys.readouterr().err.startswith(says)
    assert out.exists() == (code == 0)


def test_the_build_fails_on_a_retired_model_and_warns_about_a_deprecated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lineups = tmp_path / "lineups.json"
    lineups.write_text(json.dumps({"old": {"sonnet": "claude-sonnet-4-5"}}), encoding="utf-8")
    monkeypatch.setattr(build, "LINEUPS", lineups)
    out = ["--out", str(tmp_path / "catalogue.json")]
    assert build.main(out, today=dt.date(2026, 11, 29)) == 0
    assert "will be retired on 2026-11-30" in capsys.readouterr().err
    assert build.main(out, today=dt.date(2026, 11, 30)) == 1
    assert "was retired on 2026-11-30" in capsys.readouterr().err


def test_the_sdks_list_of_deprecated_models_is_in_the_catalogue() -> None:
    models = json.loads(CATALOGUE.read_text(encoding="utf-8"))["models"]
    assert {name: row["retires_on"] for name, row in models.items() if "retires_on" in row} == {
        "claude-sonnet-4-5": "2026-11-30"
    }


@pytest.mark.parametrize(
    ("kept", "listed", "expected"),
    [
        ({}, {}, {}),
        ({}, {"m": "June 1st, 2026"}, {"retires_on": "2026-06-01"}),
        ({"aliases": ["m-20250929"]}, {"m-20250929": "November 30th, 2026"}, {"retires_on": "2026-11-30"}),
        ({"retires_on": "2026-12-24"}, {}, {"retires_on": "2026-12-24"}),
        ({"retires_on": "2026-12-24"}, {"m": "January 2nd, 2027"}, {"retires_on": "2026-12-24"}),
    ],
)
def test_the_earliest_known_day_of_retirement_counts(
    kept: dict[str, Any], listed: dict[str, str], expected: dict[str, str]
) -> None:
    assert lifecycle.retires_on("m", kept, listed) == expected


def test_a_day_in_another_form_ends_the_build() -> None:
    with pytest.raises(lifecycle.LifecycleError, match=r"m is '2026-11-30'; read are days such as 'June 15th, 2026'"):
        lifecycle.retires_on("m", {}, {"m": "2026-11-30"})


LOCK = """
[[package]]
name = "genai-prices"
version = "1.0"
sdist = { url = "u", upload-time = "2026-11-10T23:59:59Z" }
wheels = [{ url = "u", upload-time = "2026-11-11T00:00:00Z" }]

[[package]]
name = "undated"
version = "1.0"
"""


def test_prices_are_as_old_as_the_first_upload_of_what_is_pinned(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(LOCK, encoding="utf-8")
    assert lifecycle.released_on("genai-prices", "1.0", lock) == "2026-11-10"
    with pytest.raises(lifecycle.LifecycleError, match=r"genai-prices 1\.1 is installed, uv\.lock pins 1\.0"):
        lifecycle.released_on("genai-prices", "1.1", lock)
    with pytest.raises(lifecycle.LifecycleError, match="no upload-time of undated"):
        lifecycle.released_on("undated", "1.0", lock)


# --- the synthesis


def messages(outdir: Path) -> list[str]:
    """Our warnings among those that the CDK command prints."""
    manifest = json.loads((outdir / "manifest.json").read_text(encoding="utf-8"))
    found = manifest["artifacts"]["claude-cost-router-dev"]
    metadata = found.get("metadata") or json.loads(
        (outdir / found["additionalMetadataFile"]).read_text(encoding="utf-8")
    )
    told = [row["data"] for rows in metadata.values() for row in rows if row["type"] == "aws:cdk:warning"]
    return [text for text in told if "[ack: cost-router:" in text]


def test_the_synthesis_warns_where_the_cdk_command_looks(tmp_path: Path) -> None:
    synth(Config(), tmp_path / "recent", bundling=False, today=dt.date(2026, 12, 10))
    assert messages(tmp_path / "recent") == []
    synth(Config(), tmp_path / "old", bundling=False, today=dt.date(2026, 12, 11))
    [warning] = messages(tmp_path / "old")
    assert "released on 2026-11-10, 31 days ago" in warning
    assert "[ack: cost-router:old-prices]" in warning


def test_the_synthesis_ends_when_the_lineup_has_no_price(tmp_path: Path) -> None:
    with pytest.raises(CatalogueProblem, match="no batch price in force on 2026-10-13"):
        synth(Config(), tmp_path, bundling=False, today=dt.date(2026, 10, 13))
    assert not list(tmp_path.glob("*.template.json"))


def test_the_apps_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "utc_today", lambda: dt.date(2026, 10, 13))
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path))
    assert app.main() == 1
    assert capsys.readouterr().err.startswith("cost-router: model 'claude-haiku-5-5'")
