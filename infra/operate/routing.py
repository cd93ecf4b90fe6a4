"""How a deployment decides, as an operator sets it: read, checked and written, one item of the tenants table.

Everything is checked as the router will read it (`core/routing.py`), names too, before anything is written. Models that
settings name stand beside them, under the SHA-256 of what they are, so that writing one twice changes nothing.
"""

import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from cost_router.adapters.plans import PRECLASSIFIER, ROUTING
from cost_router.contract import Table
from cost_router.core.errors import quoted
from cost_router.core.preclassifier import Preclassifier
from cost_router.core.routing import CANARY, DEFAULT_MODEL, NONE, Candidate, Routing
from cost_router.core.rubric import Rubric
from cost_router.core.words import Label
from infra.operate.target import Target
from infra.operate.tenants import read_value, write_value
from infra.operate.what_if import DATA

ID_LENGTH: Final = 16  # hex digits of the hash that names a model
MOST_BYTES: Final = 390_000  # of a value: DynamoDB takes 400 KB for an item, names and keys included
BY_HAND: Final = "`cost-router routing clear` takes them away"
# What a file that is not written as it should be makes a parser raise.
MALFORMED: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)
Settings = dict[str, Any]


class RoutingProblem(ValueError):
    """Settings cannot be read, or not be written as asked; the message quotes what is wrong."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Settings as they are in the table. text: exactly so, None where there are none."""

    text: str | None = None
    changed_at: str | None = None

    @property
    def settings(self) -> Settings:
        """The settings; raises `RoutingProblem` where somebody has written what is none."""
        try:
            found = json.loads(self.text or "{}")
        except ValueError as error:
            raise RoutingProblem(f"the settings in the table are no JSON: {error}; {BY_HAND}") from None
        if not isinstance(found, dict):
            raise RoutingProblem(f"the settings in the table are {quoted(found)}, not an object; {BY_HAND}")
        return found


@dataclass(slots=True)
class Change:
    """What is to be changed: members of the settings and of their candidate, None takes one away; models to be kept."""

    members: Settings = field(default_factory=dict)
    candidate: Settings = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)  # gzipped, by id

    def applied(self, settings: Settings) -> Settings:
        """The settings after it."""
        after = {**settings, **self.members}
        if self.candidate:
            before = after.get("candidate")
            merged = {**(before if isinstance(before, dict) else {}), **self.candidate}
            after["candidate"] = {name: value for name, value in merged.items() if value is not None}
        return {name: value for name, value in after.items() if value is not None}


def stored(target: Target) -> Stored:
    """The settings of a deployment."""
    item = _item(target, ROUTING)
    return Stored(item.get("settings"), item.get("changed_at")) if item else Stored()


def change(target: Target, wanted: Change, now: dt.datetime) -> Settings:
    """Change the settings; gives them as they are then. Raises `RoutingProblem`, before anything is written."""
    seen = stored(target)
    return _write(target, wanted.applied(seen.settings), wanted.models, seen, now)


def replace(target: Target, settings: object, now: dt.datetime) -> Settings:
    """Put whole settings in place of those that are there. Raises `RoutingProblem`, before anything is written."""
    if not isinstance(settings, dict):
        raise RoutingProblem(f"settings: {quoted(settings)}; accepted: an object, as `routing show --json` has it")
    return _write(target, settings, {}, stored(target), now)


def clear(target: Target) -> None:
    """Take all settings away; also such as cannot be read."""
    key = {Table.TENANTS_KEY: write_value(ROUTING)}
    target.client("dynamodb").delete_item(TableName=target.tables["tenants"], Key=key)


def check(target: Target, settings: object, models: Mapping[str, bytes] | None = None) -> Routing:
    """The settings as the router reads them, if what they name exists. models: that are about to be written."""
    try:
        routing = Routing.parse(settings)
    except ValueError as error:
        raise RoutingProblem(str(error)) from None
    candidate = routing.candidate
    if candidate and candidate.lineup is not None:
        lineups = json.loads((DATA / "lineups.json").read_text(encoding="utf-8"))
        if candidate.lineup not in lineups:
            raise RoutingProblem(f"candidate.lineup: {quoted(candidate.lineup)}; accepted: {', '.join(lineups)}")
    if candidate and candidate.rubric is not None:
        check_rubric("candidate.rubric", candidate.rubric)
    for name, id_ in _named_models(routing):
        if id_ not in (models or {}) and not _exists(target, id_):
            raise RoutingProblem(f"{name}: {quoted(id_)} is not there; accepted: {DEFAULT_MODEL}, {NONE}, or a file")
    return routing


def check_rubric(name: str, content: Any) -> None:
    """Whether a rubric is written as `data/rubric.json`; raises `RoutingProblem`."""
    try:
        Rubric.parse(content)
    except MALFORMED as error:
        raise RoutingProblem(f"{name}: {_why(error)}; accepted: a rubric as in data/rubric.json") from None


def packed(name: str, content: Any) -> tuple[str, bytes]:
    """The id of a local model, and the model as it is kept; raises `RoutingProblem` where it is none."""
    try:
        Preclassifier.parse(content)
    except MALFORMED as error:
        raise RoutingProblem(f"{name}: no pre-classifier: {_why(error)}") from None
    text = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:ID_LENGTH], gzip.compress(text, mtime=0)


def read_json(name: str, file: str) -> Any:
    """The JSON in a file; raises `RoutingProblem`."""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise RoutingProblem(f"{name} {file!r} cannot be read as JSON: {error}") from None


def in_words(routing: Routing) -> Iterator[tuple[str, str]]:
    """What the settings mean, a name and a sentence each."""
    off = ", ".join(sorted(routing.rules_off))
    yield "rules", f"all but {off}" if off else "all are asked"
    yield "pre-classifier", routing.preclassifier or NONE
    rungs = {label: routing.rung(label) for label in Label}
    yield (
        "ladder",
        ", ".join(
            f"{label} -> {rung.tier.word}{f' (effort {rung.effort})' if rung.effort else ''}"
            for label, rung in rungs.items()
        ),
    )
    ceilings = ", ".join(f"{label} {routing.max_tokens[label]}" for label in Label if label in routing.max_tokens)
    yield "max tokens", f"at most {ceilings}, of callers who allow it" if ceilings else "as callers ask"
    yield "prompt caching", "long prompts are marked for the cache" if routing.prompt_caching else "as callers mark"
    yield "sessions", "stay on a warm model while that is cheaper" if routing.sessions else "every turn by its label"
    yield "candidate", _candidate_in_words(routing.candidate)


def _candidate_in_words(candidate: Candidate | None) -> str:
    if candidate is None:
        return NONE
    what = "decides" if candidate.mode == CANARY else "looks on, and changes nothing,"
    version = (candidate.rubric or {}).get("version")
    parts = {"lineup": candidate.lineup, "rubric": version, "pre-classifier": candidate.preclassifier}
    told = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
    return (
        f"{candidate.mode}: {told} {what} for {candidate.percent} % of the conversations; "
        f"`cost-router routing set --candidate {NONE}` rolls back"
    )


def _named_models(routing: Routing) -> Iterator[tuple[str, str]]:
    if routing.preclassifier not in (None, NONE):
        yield "preclassifier", str(routing.preclassifier)
    if routing.candidate and routing.candidate.preclassifier not in (None, NONE):
        yield "candidate.preclassifier", str(routing.candidate.preclassifier)


def _exists(target: Target, id_: str) -> bool:
    """Whether a model is there: the shipped one in the bundle, others in the table."""
    if id_ == DEFAULT_MODEL:
        return (DATA / "preclassifier.json").is_file()
    return bool(_item(target, PRECLASSIFIER + id_))


def _write(target: Target, settings: Settings, models: Mapping[str, bytes], seen: Stored, now: dt.datetime) -> Settings:
    """Write the models, then the settings unless somebody has changed them since they were seen."""
    check(target, settings, models)
    text = json.dumps(settings, sort_keys=True)
    for name, size in {"settings": len(text), **{f"model {id_}": len(model) for id_, model in models.items()}}.items():
        if size > MOST_BYTES:
            raise RoutingProblem(f"{name}: {size} bytes; accepted: {MOST_BYTES}, which is what an item can hold")
    client, table = target.client("dynamodb"), target.tables["tenants"]
    for id_, model in models.items():
        item = {Table.TENANTS_KEY: PRECLASSIFIER + id_, "model": model}
        client.put_item(TableName=table, Item={name: write_value(value) for name, value in item.items()})
    item = {Table.TENANTS_KEY: ROUTING, "settings": text, "changed_at": now.isoformat(timespec="seconds")}
    unseen: dict[str, Any] = {"ConditionExpression": f"attribute_not_exists({Table.TENANTS_KEY})"}
    if seen.text is not None:
        unseen = {
            "ConditionExpression": "settings = :seen",
            "ExpressionAttributeValues": {":seen": write_value(seen.text)},
        }
    try:
        client.put_item(TableName=table, Item={name: write_value(value) for name, value in item.items()}, **unseen)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise RoutingProblem("somebody else has changed the settings meanwhile; nothing was written") from error
    return settings


def _item(target: Target, pk: str) -> dict[str, Any]:
    """An item of the tenants table; empty when there is none."""
    key = {Table.TENANTS_KEY: write_value(pk)}
    reply = target.client("dynamodb").get_item(TableName=target.tables["tenants"], Key=key, ConsistentRead=True)
    return {name: read_value(value) for name, value in reply.get("Item", {}).items()}


def _why(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
