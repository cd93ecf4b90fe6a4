"""Settings of routing, as they are checked and written, against a table in memory."""

import datetime as dt
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cost_router.core.routing import Routing
from cost_router.handlers import wiring
from infra import routing_cli
from infra.operate import routing
from infra.operate.routing import Change, RoutingProblem, Stored
from infra.operate.target import Target

NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
MODEL: dict[str, Any] = {
    "format": 1,
    "lone": True,
    "buckets": 4,
    "pairs": True,
    "characters": [4],
    "heads": {
        "above_simple": {"bias": 0, "plain": {}, "scale": 1, "weights": "eJxjYGBgAAAABAAB"},
        "above_moderate": None,
    },
    "thresholds": {"simple": None, "moderate": None, "complex": None},
}
CANARY = {"mode": "canary", "percent": 10, "lineup": "article"}


@dataclass
class Table:
    """A DynamoDB client with one table; `meanwhile` happens just before the settings are written."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    meanwhile: str | None = None
    puts: list[str] = field(default_factory=list)

    def get_item(self, *, Key: dict[str, Any], **_more: Any) -> dict[str, Any]:  # noqa: N803  boto3's
        found = self.items.get(Key["pk"]["S"])
        return {"Item": found} if found else {}

    def delete_item(self, *, Key: dict[str, Any], **_more: Any) -> None:  # noqa: N803  boto3's
        self.items.pop(Key["pk"]["S"], None)

    def put_item(self, *, Item: dict[str, Any], **more: Any) -> None:  # noqa: N803  boto3's
        pk = Item["pk"]["S"]
        if pk == "routing" and self.meanwhile:
            self.items[pk] = {"pk": {"S": pk}, "settings": {"S": self.meanwhile}}
        condition, there = more.get("ConditionExpression"), self.items.get(pk)
        if condition:
            seen = more.get("ExpressionAttributeValues", {}).get(":seen")
            fits = there is None if condition == "attribute_not_exists(pk)" else there and there["settings"] == seen
            if not fits:
                raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "PutItem")
        self.items[pk] = Item
        self.puts.append(pk)


@dataclass(frozen=True, slots=True)
class MemoryTarget(Target):
    """A deployment whose tables are in memory."""

    table: Table = field(default_factory=Table)

    def client(self, service: str) -> Any:
        assert service == "dynamodb"
        return self.table


@pytest.fixture
def target() -> MemoryTarget:
    return MemoryTarget("local", "", "", "", "", {"tenants": "tenants"}, None)


def stored(target: MemoryTarget) -> Any:
    return routing.stored(target).settings


def test_only_what_is_given_changes_and_none_takes_away(target: MemoryTarget) -> None:
    routing.change(target, Change({"rules_off": ["planning"], "sessions": False}), NOW)
    routing.change(target, Change({"sessions": None, "prompt_caching": True}), NOW)
    assert stored(target) == {"rules_off": ["planning"], "prompt_caching": True}
    assert routing.stored(target).changed_at == "2026-11-28T12:00:00+00:00"


def test_a_candidate_changes_part_by_part_and_one_setting_rolls_it_back(target: MemoryTarget) -> None:
    routing.change(target, Change(candidate=dict(CANARY)), NOW)
    routing.change(target, Change(candidate={"percent": 50, "preclassifier": "none"}), NOW)
    assert stored(target)["candidate"] == CANARY | {"percent": 50, "preclassifier": "none"}
    routing.change(target, Change(candidate={"lineup": None}), NOW)
    assert stored(target)["candidate"] == {"mode": "canary", "percent": 50, "preclassifier": "none"}
    routing.change(target, Change({"candidate": None}), NOW)
    assert stored(target) == {}


def test_a_model_is_kept_under_its_content_before_the_settings_that_name_it(target: MemoryTarget) -> None:
    id_, model = routing.packed("preclassifier 'm.json'", MODEL)
    again, _ = routing.packed("preclassifier 'n.json'", dict(reversed(MODEL.items())))
    assert (id_, len(id_)) == (again, 16)
    routing.change(target, Change({"preclassifier": id_}, models={id_: model}), NOW)
    assert target.table.puts == [f"preclassifier#{id_}", "routing"]
    kept = target.table.items[f"preclassifier#{id_}"]["model"]["B"]
    assert json.loads(gzip.decompress(bytes(kept))) == MODEL
    routing.change(target, Change({"sessions": False}), NOW)  # what is there already may be named


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change({"rules_off": ["gone"]}), "rules_off: 'gone'; accepted: follow-up"),
        (Change({"preclassifier": "0123456789abcdef"}), "preclassifier: '0123456789abcdef' is not there; accepted"),
        (Change(candidate=CANARY | {"lineup": "newest"}), "candidate.lineup: 'newest'; accepted: current, article"),
        (Change(candidate=CANARY | {"percent": "half"}), "candidate.percent: 'half'; accepted: a whole number"),
        (Change(candidate={"percent": 5}), "candidate.mode: None; accepted: shadow, canary"),
        (Change(candidate=CANARY | {"rubric": {}}), "candidate.rubric: 'intro' is missing; accepted: a rubric"),
        (Change(candidate=CANARY | {"rubric": {"intro": "text"}}), "rubric.intro: 'text'; accepted: text, or a list"),
        (Change(candidate=CANARY | {"preclassifier": "abc"}), "candidate.preclassifier: 'abc' is not there"),
    ],
)
def test_what_the_router_could_not_use_is_refused_and_nothing_is_written(
    target: MemoryTarget, change: Change, said: str
) -> None:
    with pytest.raises(RoutingProblem) as error:
        routing.change(target, change, NOW)
    assert said in str(error.value)
    assert target.table.puts == []


def test_what_no_item_can_hold_is_refused(target: MemoryTarget) -> None:
    rubric = {**wiring.data("rubric.json"), "rules": ["x" * 400_000]}
    with pytest.raises(RoutingProblem, match=r"settings: \d+ bytes; accepted: 390000"):
        routing.change(target, Change(candidate=CANARY | {"rubric": rubric}), NOW)
    with pytest.raises(RoutingProblem, match=r"model abc: 390001 bytes; accepted: 390000"):
        routing.change(target, Change({"sessions": True}, models={"abc": b"x" * 390_001}), NOW)
    assert target.table.puts == []


@pytest.mark.parametrize("before", [None, '{"sessions": false}'])
def test_two_operators_do_not_overwrite_each_other_unseen(target: MemoryTarget, before: str | None) -> None:
    if before:
        target.table.items["routing"] = {"pk": {"S": "routing"}, "settings": {"S": before}}
    target.table.meanwhile = '{"prompt_caching": true}'
    with pytest.raises(RoutingProblem, match="somebody else has changed the settings meanwhile; nothing was written"):
        routing.change(target, Change({"rules_off": ["planning"]}), NOW)
    assert stored(target) == {"prompt_caching": True}


def test_whole_settings_take_the_place_of_those_that_are_there(target: MemoryTarget) -> None:
    routing.change(target, Change({"sessions": False}), NOW)
    routing.replace(target, {"candidate": CANARY}, NOW)
    assert stored(target) == {"candidate": CANARY}
    with pytest.raises(RoutingProblem, match="accepted: an object"):
        routing.replace(target, [], NOW)


@pytest.mark.parametrize(("text", "said"), [("{", "no JSON"), ("[]", "not an object")])
def test_settings_that_a_hand_has_broken_are_told_and_can_be_cleared(
    target: MemoryTarget, text: str, said: str
) -> None:
    target.table.items["routing"] = {"pk": {"S": "routing"}, "settings": {"S": text}}
    with pytest.raises(RoutingProblem, match=said) as error:
        routing.change(target, Change({"sessions": False}), NOW)
    assert "routing clear" in str(error.value)
    routing.clear(target)
    assert routing.stored(target) == Stored()


@pytest.mark.parametrize("content", ["{", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "settings.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(RoutingProblem, match="cannot be read as JSON"):
        routing.read_json("file", str(file))


def test_settings_are_said_in_plain_words() -> None:
    ladder = {"moderate": {"tier": "sonnet", "effort": "low"}}
    settings = {"rules_off": ["planning"], "ladder": ladder, "max_tokens": {"simple": 256}, "candidate": CANARY}
    told = dict(routing.in_words(Routing.parse(settings)))
    assert told["rules"] == "all but planning"
    assert told["ladder"] == "simple -> haiku, moderate -> sonnet (effort low), complex -> opus"
    assert told["max tokens"] == "at most simple 256, of callers who allow it"
    assert told["candidate"] == (
        "canary: lineup article decides for 10 % of the conversations; `cost-router routing set --candidate none` "
        "rolls back"
    )
    assert dict(routing.in_words(Routing()))["candidate"] == "none"


# --- the command


@dataclass(frozen=True)
class Told:
    """How a command ended."""

    code: int
    text: str

    @property
    def settings(self) -> Any:
        return json.loads(self.text)["settings"]


@pytest.fixture
def command(target: MemoryTarget, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    monkeypatch.setattr(routing_cli, "find_target", lambda _stack: target)

    def run(*words: str) -> Told:
        done = CliRunner().invoke(routing_cli.routing_app, words)
        return Told(done.exit_code, done.output)

    return run


def test_every_option_of_the_command_is_written_shown_and_taken_away(
    command: Callable[..., Told], tmp_path: Path
) -> None:
    rubric, model = tmp_path / "rubric.json", tmp_path / "model.json"
    rubric.write_text(json.dumps(wiring.data("rubric.json")), encoding="utf-8")
    model.write_text(json.dumps(MODEL), encoding="utf-8")
    words = (
        "--rules-off housekeeping,follow-up --ladder moderate=sonnet:low,complex=opus --prompt-caching --no-sessions"
    )
    more = f"--max-tokens simple=256,moderate=1024 --preclassifier {model} --candidate canary --percent 5"
    parts = f"--candidate-lineup article --candidate-rubric {rubric} --candidate-preclassifier none"
    done = command("set", *f"{words} {more} {parts}".split(), "--json")
    assert done.code == 0, done.text
    id_ = done.settings["preclassifier"]
    assert done.settings == {
        "rules_off": ["housekeeping", "follow-up"],
        "ladder": {"moderate": {"tier": "sonnet", "effort": "low"}, "complex": {"tier": "opus"}},
        "max_tokens": {"simple": 256, "moderate": 1024},
        "prompt_caching": True,
        "sessions": False,
        "preclassifier": id_,
        "candidate": {**CANARY, "percent": 5, "rubric": wiring.data("rubric.json"), "preclassifier": "none"},
    }
    assert command("show", "--json").settings == done.settings
    changed = command("set", "--candidate-lineup", "none", "--candidate-preclassifier", str(model), "--json").settings
    assert (changed["candidate"].get("lineup"), changed["candidate"]["preclassifier"]) == (None, id_)
    none = [f"--{name} none".split() for name in ("rules-off", "ladder", "max-tokens", "preclassifier", "candidate")]
    left = command("set", *(word for pair in none for word in pair), "--json").settings
    assert left == {"prompt_caching": True, "sessions": False}
    assert command("show").text.startswith("last changed at 20")
    assert command("clear", "--json").settings == {}
    assert command("show").text.startswith("no settings: all is as without them")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("set", "nothing to change; accepted: --rules-off"),
        ("set --rules-off fast", "rules_off: 'fast'; accepted: follow-up"),
        ("set --ladder moderate", "ladder 'moderate': 'moderate'; accepted: LABEL=VALUE"),
        ("set --ladder hard=opus", "ladder: 'hard' is unknown; accepted: simple"),
        ("set --ladder simple=big:low", "ladder.simple.tier: 'big'; accepted: haiku"),
        ("set --ladder simple=haiku:", "ladder.simple.effort: ''; accepted: low"),
        ("set --max-tokens simple=1,simple=2", "max-tokens 'simple=1,simple=2': 'simple=2'; accepted: LABEL=VALUE"),
        ("set --max-tokens simple=many", "max_tokens.simple: 'many'; accepted: a whole number"),
        ("set --preclassifier missing.json", "preclassifier 'missing.json' cannot be read as JSON"),
        ("set --candidate on", "candidate.mode: 'on'; accepted: shadow, canary"),
        ("set --percent 5", "candidate.mode: None; accepted: shadow, canary"),
        ("set --candidate canary --percent 0.5 --candidate-lineup article", "candidate.percent: '0.5'; accepted"),
        ("set --candidate canary --percent 5", "candidate: it changes nothing"),
        ("set --candidate none --percent 5", "--candidate none takes the candidate away; give it without"),
        ("set --candidate shadow --percent 5 --candidate-rubric missing.json", "rubric 'missing.json' cannot be read"),
        ("set --file missing.json", "file 'missing.json' cannot be read as JSON"),
        ("set --file settings.json --no-sessions", "--file 'settings.json' is the whole; give it without other"),
    ],
)
def test_a_mistake_is_one_line_that_quotes_it(
    command: Callable[..., Told], target: MemoryTarget, words: str, said: str
) -> None:
    done = command(*words.split())
    assert done.code == 1
    assert done.text.startswith(f"cost-router: {said}")
    assert done.text.count("\n") == 1
    assert target.table.puts == []
