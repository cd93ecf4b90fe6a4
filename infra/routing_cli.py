"""`cost-router routing`: how requests are decided, changed while the deployment runs."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import datetime as dt
import json
from typing import Annotated, Any, Final

import typer

from cost_router.core.routing import DEFAULT_MODEL, MODES, NONE, Routing
from cost_router.core.rules import RULES
from infra.operate import routing
from infra.operate.routing import Change, RoutingProblem
from infra.operate.target import Target, find_target
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

routing_app = typer.Typer(no_args_is_help=True, help="How requests are decided, changed while the deployment runs.")
WITHIN: Final = "in force within 60 seconds"

RulesOff = Annotated[str | None, typer.Option("--rules-off", help=f"rules that are not asked: {', '.join(RULES)}")]
Local = Annotated[str | None, typer.Option("--preclassifier", help=f"{DEFAULT_MODEL}, a file of `train`, or {NONE}")]
Ladder = Annotated[str | None, typer.Option(help="tier and effort by label: moderate=sonnet:low,complex=opus")]
MaxTokens = Annotated[str | None, typer.Option("--max-tokens", help="ceilings by label: simple=256,moderate=1024")]
Caching = Annotated[bool | None, typer.Option("--prompt-caching/--no-prompt-caching", help="mark long prompts")]
Sessions = Annotated[bool | None, typer.Option("--sessions/--no-sessions", help="stay on a warm, cheaper model")]
Mode = Annotated[str | None, typer.Option("--candidate", help=f"{', '.join(MODES)}; {NONE} rolls back")]
Percent = Annotated[str | None, typer.Option(help="of the conversations, 1 to 100, by a stable hash")]
Lineup = Annotated[str | None, typer.Option("--candidate-lineup", help=f"of data/lineups.json, or {NONE}")]
Rubric = Annotated[str | None, typer.Option("--candidate-rubric", help=f"a file as data/rubric.json, or {NONE}")]
OtherLocal = Annotated[
    str | None, typer.Option("--candidate-preclassifier", help=f"{DEFAULT_MODEL}, a file, or {NONE}: without any")
]
Whole = Annotated[str | None, typer.Option("--file", help="whole settings, in place of those that are there")]


@routing_app.command("show")
@says_what_is_wrong
def routing_show(*, stack: Stack = None, as_json: AsJson = False) -> None:
    """Show how requests are decided, in plain words."""
    _tell(find_target(stack), as_json=as_json)


@routing_app.command("set")
@says_what_is_wrong
def routing_set(
    *,
    rules_off: RulesOff = None,
    preclassifier: Local = None,
    ladder: Ladder = None,
    max_tokens: MaxTokens = None,
    prompt_caching: Caching = None,
    sessions: Sessions = None,
    candidate: Mode = None,
    percent: Percent = None,
    candidate_lineup: Lineup = None,
    candidate_rubric: Rubric = None,
    candidate_preclassifier: OtherLocal = None,
    file: Whole = None,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Change how requests are decided; only what is given changes, and `none` takes it away."""
    wanted = Change()
    words = {"rules_off": rules_off, "ladder": ladder, "max_tokens": max_tokens}
    for name, word in words.items():
        if word is not None:
            wanted.members[name] = None if word == NONE else READERS[name](word)
    _set_model(wanted.members, "preclassifier", preclassifier, wanted)
    if wanted.members.get("preclassifier") == NONE:
        wanted.members["preclassifier"] = None
    flags = {"prompt_caching": prompt_caching, "sessions": sessions}
    wanted.members |= {name: flag for name, flag in flags.items() if flag is not None}
    parts = {"mode": candidate, "percent": percent, "lineup": candidate_lineup, "rubric": candidate_rubric}
    _set_candidate(wanted, parts, candidate_preclassifier)
    target = find_target(stack)
    _write(target, wanted, file)
    _tell(target, as_json=as_json, changed=True)


@routing_app.command("clear")
@says_what_is_wrong
def routing_clear(*, stack: Stack = None, as_json: AsJson = False) -> None:
    """Take all settings away: requests are decided as they were before any."""
    target = find_target(stack)
    routing.clear(target)
    _tell(target, as_json=as_json, changed=True)


def _write(target: Target, wanted: Change, file: str | None) -> None:
    given = bool(wanted.members or wanted.candidate)
    if file is not None:
        if given:
            raise RoutingProblem(f"--file {file!r} is the whole; give it without other options")
        routing.replace(target, routing.read_json("file", file), dt.datetime.now(dt.UTC))
        return
    if not given:
        raise RoutingProblem("nothing to change; accepted: --rules-off, --preclassifier, --ladder, --candidate, ...")
    routing.change(target, wanted, dt.datetime.now(dt.UTC))


def _set_candidate(wanted: Change, parts: dict[str, str | None], local: str | None) -> None:
    given: dict[str, Any] = {name: word for name, word in parts.items() if word is not None}
    if given.get("mode") == NONE:
        if local is not None or len(given) > 1:
            raise RoutingProblem(f"--candidate {NONE} takes the candidate away; give it without --percent and the like")
        wanted.members["candidate"] = None
        return
    if "percent" in given:
        text = given["percent"]
        given["percent"] = int(text) if text.isascii() and text.isdigit() else text
    for name in ("lineup", "rubric"):
        if given.get(name) == NONE:
            given[name] = None
    if given.get("rubric") is not None:
        given["rubric"] = routing.read_json("rubric", given["rubric"])
    _set_model(given, "preclassifier", local, wanted)
    wanted.candidate = given


def _set_model(members: dict[str, Any], name: str, word: str | None, wanted: Change) -> None:
    """Name a local model: the shipped one, none, or that in a file, which is to be kept."""
    if word is None:
        return
    members[name] = word
    if word not in (DEFAULT_MODEL, NONE):
        id_, model = routing.packed(f"{name} {word!r}", routing.read_json(name, word))
        members[name], wanted.models[id_] = id_, model


def _pairs(name: str, text: str) -> dict[str, str]:
    """`LABEL=WORD,...`; raises `RoutingProblem`."""
    found: dict[str, str] = {}
    for part in text.split(","):
        label, mark, word = (piece.strip() for piece in part.partition("="))
        if not (label and mark and word) or label in found:
            raise RoutingProblem(f"{name} {text!r}: {part!r}; accepted: LABEL=VALUE, separated by commas, each once")
        found[label] = word
    return found


def _rungs(text: str) -> dict[str, Any]:
    found = {}
    for label, word in _pairs("ladder", text).items():
        tier, mark, effort = word.partition(":")
        found[label] = {"tier": tier, "effort": effort} if mark else {"tier": tier}
    return found


def _ceilings(text: str) -> dict[str, Any]:
    words = _pairs("max-tokens", text)
    return {label: int(word) if word.isascii() and word.isdigit() else word for label, word in words.items()}


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


READERS: Final = {"rules_off": _words, "ladder": _rungs, "max_tokens": _ceilings}


def _tell(target: Target, *, as_json: bool, changed: bool = False) -> None:
    """Print the settings; such as the router cannot use are told as a problem."""
    found = routing.stored(target)
    problem = None
    try:
        made = routing.check(target, found.settings)
    except RoutingProblem as error:
        made, problem = Routing(), str(error)
    if as_json:
        settings = found.settings if problem is None else found.text
        print(json.dumps({"settings": settings, "changed_at": found.changed_at, "problem": problem}))
        return
    if problem:
        raise RoutingProblem(f"the router cannot use the settings, and goes on as before them: {problem}")
    since = f"last changed at {found.changed_at}" if found.changed_at else "no settings: all is as without them"
    console.print(f"{WITHIN}:" if changed else since, markup=False)
    for name, says in routing.in_words(made):
        console.print(f"  {name:<15} {says}", markup=False, soft_wrap=True)
