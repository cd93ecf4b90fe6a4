"""Files of outcomes or labels, one a line: what `replay` and `train` read.

A line has a prompt and what is known of it, in any of these shapes:

{"prompt": "...", "weak": 1, "strong": 1}                          whether a cheap and a dear model got it right
{"prompt": "...", "correct": {"claude-haiku-5-5": 0, ...}}         the same by model; scores are numbers, too
{"prompt": "...", "label": "moderate"}                             its label
{"params": {a Messages API body}, "label": "moderate"}             the same, with what stands around the ask

Beside them may stand `task` (which set of its file a row is of), `domain` (a subject, for splits), `out_chars` by
model, `weak_chars` and `strong_chars` (characters of the answers), `cost_usd` by model (what they cost),
`weight` (how many requests a line stands for) and `id`.
"""

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from cost_router.core.ask import read_ask
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.preclassifier import alone
from cost_router.core.words import Label
from cost_router.handlers.strict_json import parse_json
from infra.operate.labelled import BadLabels

WEAK: Final = "weak"
STRONG: Final = "strong"
MOST: Final = 1_000_000_000  # of a number
SHOWN: Final = 20  # problems that an error tells
BOM: Final = b"\xef\xbb\xbf"
CLASSIFIED: Final = ("classifier", "cache")  # causes of labels that the classifier gave
SHAPES: Final = (
    '{"prompt": "...", "label": "simple"}, {"params": {...}, "label": "simple"}, '
    '{"prompt": "...", "weak": 0, "strong": 1} or {"prompt": "...", "correct": {"MODEL": 1, ...}}'
)


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and what is known of it."""

    prompt: str = field(repr=False)  # the whole ask
    excerpt: str = field(repr=False)
    alone: bool  # whether nothing stands around it
    correct: Mapping[str, float]  # score by model, 0 to 1 where it is right or wrong; empty when only labelled
    file: str  # its name without endings: a file is a set
    task: str | None = None
    subject: str | None = None
    label: Label | None = None
    characters: Mapping[str, int] = field(default_factory=dict)  # of answers, by model
    cost_usd: Mapping[str, Decimal] = field(default_factory=dict)
    weight: float = 1.0
    id: str | None = None

    @property
    def source(self) -> str:
        """The file and the task."""
        return f"{self.file} {self.task}" if self.task else self.file

    @property
    def models(self) -> str:
        """The models that were asked, one name for all rows of the same ones; empty when there are labels only."""
        return " ".join(sorted(self.correct))


def read_rows(paths: Sequence[Path], *, logged: bool = False) -> list[Row]:
    """The rows of all files, gzipped where a name ends in .gz; raises `BadLabels` that names the bad lines.

    logged: a line of `cost-router sample` that nobody has labelled counts by the label that the classifier gave it, if
    it was the classifier's; the others of those lines are left out.
    """
    found: list[Row] = []
    problems: list[str] = []
    for path in paths:
        try:
            for number, raw in _lines(path):
                try:
                    value = parse_json(raw, "line")
                    if not logged or _is_told(value):
                        found.append(_row(value, path.name.split(".")[0], logged=logged))
                except InvalidRequest as error:
                    problems.append(f"{path} line {number}: {error}")
        except (OSError, EOFError, zlib.error) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BadLabels(f"{path}: {said}; accepted: a .jsonl or .jsonl.gz file") from error
    if problems:
        more = [f"... and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise BadLabels("\n".join(["nothing was read", *problems[:SHOWN], *more, f"accepted: {SHAPES}"]))
    if not found:
        raise BadLabels(f"{', '.join(map(str, paths))}: no lines; accepted: {SHAPES}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            text = (raw.removeprefix(BOM) if number == 1 else raw).strip()
            if text:
                yield number, text


def _is_told(value: Mapping[str, Any]) -> bool:
    """Whether a line has anything to learn from, where logged labels count, too."""
    return "routed" not in value or value.get("label") is not None or _classified(value) is not None


def _classified(value: Mapping[str, Any]) -> object:
    """The label that the classifier gave to a sampled request; None when it is a rule's, a guess or not told."""
    routed = value.get("routed")
    return routed.get("label") if isinstance(routed, dict) and routed.get("cause") in CLASSIFIED else None


def _row(value: Mapping[str, Any], file: str, *, logged: bool) -> Row:
    ask = read_ask(_body(value))
    if not ask.text:
        raise InvalidRequest("there is no text that a person wrote; accepted: a prompt with text")
    correct = _scores(value)
    given = value.get("label") or _classified(value) if logged else value.get("label")
    label = None if given is None else _label(given)
    if label is None and not correct:
        raise InvalidRequest(f"members {quoted(sorted(value))}; accepted: label, weak and strong, or correct")
    return Row(
        prompt=ask.text,
        excerpt=ask.excerpt,
        alone=alone(ask),
        correct=correct,
        file=file,
        task=_text("task", value.get("task")),
        subject=_text("domain", value.get("domain")),
        label=label,
        characters=_characters(value),
        cost_usd={name: _dollars(name, usd) for name, usd in _object("cost_usd", value.get("cost_usd")).items()},
        weight=_number("weight", value.get("weight", 1)),
        id=_text("id", value.get("id")),
    )


def _body(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Messages API body of a line."""
    prompt, params = value.get("prompt"), value.get("params")
    if (prompt is None) == (params is None):
        has = "neither prompt nor" if prompt is None else "both prompt and"
        raise InvalidRequest(f"it has {has} params; accepted: one of them")
    if params is None:
        if not isinstance(prompt, str):
            raise InvalidRequest(f"prompt: {quoted(prompt)}; accepted: a text")
        return {"messages": [{"role": "user", "content": prompt}]}
    messages = params.get("messages") if isinstance(params, dict) else None
    if not (isinstance(messages, list) and messages and all(isinstance(message, dict) for message in messages)):
        raise InvalidRequest(f"params.messages: {quoted(type(messages).__name__)}; accepted: a list of objects")
    return dict(params)


def _scores(value: Mapping[str, Any]) -> dict[str, float]:
    pair = {name: value[name] for name in (WEAK, STRONG) if value.get(name) is not None}
    if pair and len(pair) < len((WEAK, STRONG)):
        raise InvalidRequest(f"{next(iter(pair))} stands alone; accepted: weak and strong")
    by_model = _object("correct", value.get("correct"))
    if pair and by_model:
        raise InvalidRequest("it has weak, strong and correct; accepted: one of the two shapes")
    return {name: _number(name, score) for name, score in (pair or by_model).items()}


def _characters(value: Mapping[str, Any]) -> dict[str, int]:
    pair = {name: value[f"{name}_chars"] for name in (WEAK, STRONG) if f"{name}_chars" in value}
    given = {**pair, **_object("out_chars", value.get("out_chars"))}
    return {name: int(_number(name, count)) for name, count in given.items()}


def _label(value: object) -> Label:
    if isinstance(value, str) and value in set(Label):
        return Label(value)
    raise InvalidRequest(f"label: {quoted(value)}; accepted: {', '.join(Label)}")


def _object(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise InvalidRequest(f"{name}: {quoted(value)}; accepted: an object by model")


def _number(name: str, value: object) -> float:
    fits = isinstance(value, int | float) and not (isinstance(value, float) and not math.isfinite(value))
    if not fits or not 0 <= value <= MOST:  # type: ignore[operator]  # a number, as `fits` has seen
        raise InvalidRequest(f"{name}: {quoted(value)}; accepted: a number from 0 on")
    return float(value)  # type: ignore[arg-type]  # the same


def _dollars(name: str, value: object) -> Decimal:
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        usd = Decimal(-1)
    if isinstance(value, bool) or not usd.is_finite() or usd < 0:
        raise InvalidRequest(f'cost_usd of {quoted(name)}: {quoted(value)}; accepted: dollars such as "0.0012"')
    return usd


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest(f"{name}: {quoted(value)}; accepted: a text")
