"""A file of labelled requests, one a line: what `evaluate` measures the routing against.

A line is `{"prompt": "...", "label": "moderate"}`, or `{"params": {...}, "label": ...}` with a Messages API body; `id`
and `weight` may stand beside. A weight is how many requests of the traffic a line stands for, as stratified sampling
gives it. Other members are let be: files of labels have columns of their own.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cost_router.core.ask import Ask
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.words import AUTO, Label
from cost_router.handlers.schemas import parse_message
from cost_router.handlers.strict_json import parse_json

MAX_TOKENS: Final = 1024  # of a line that has a prompt only
SHOWN: Final = 20  # problems that an error tells
MOST_BYTES: Final = 32_000_000  # of a line; platform.claude.com/docs/en/api/errors: 32 MB for a Messages request
MOST_WEIGHT: Final = Decimal(1_000_000_000)
LONGEST_ID: Final = 200
ACCEPTED: Final = 'a line such as {"prompt": "Is 97 prime?", "label": "simple"}'
BOM: Final = b"\xef\xbb\xbf"


class BadLabels(ValueError):
    """A file of labels cannot be used as it is; the message names the lines and says what is accepted."""


@dataclass(frozen=True, slots=True)
class Item:
    """A labelled request. number: of its line, from 1; prompt: None where the line has params."""

    number: int
    label: Label
    params: Mapping[str, Any] = field(repr=False)
    ask: Ask = field(repr=False)
    max_tokens: int
    weight: Decimal = Decimal(1)
    id: str | None = None
    prompt: str | None = field(default=None, repr=False)


def read_labelled(path: Path) -> list[Item]:
    """All requests of a file, gzipped where its name ends in .gz; raises `BadLabels`."""
    try:
        return parse_labelled(_lines(path), str(path))
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadLabels(f"{path}: {said}; accepted: a file of labels, .jsonl or .jsonl.gz") from error


def parse_labelled(lines: Iterable[tuple[int, bytes]], name: str) -> list[Item]:
    """The requests in lines with their numbers; raises `BadLabels` that names all bad ones."""
    found: list[Item] = []
    problems: list[str] = []
    weighted: list[bool] = []
    lines_of: dict[str, int] = {}
    for number, raw in lines:
        try:
            value = _object(raw)
            item = _item(number, value)
            _once(lines_of, item)
        except InvalidRequest as error:
            problems.append(f"line {number}: {error}")
        else:
            found.append(item)
            weighted.append("weight" in value)
    if any(weighted) and not all(weighted):
        numbers = [item.number for item, has in zip(found, weighted, strict=True) if not has]
        problems.append(f"line {numbers[0]}: weight: missing; accepted: a weight on every line, or on none")
    if problems:
        more = [f"... and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise BadLabels("\n".join([f"{name}: nothing was asked", *problems[:SHOWN], *more]))
    if not found:
        raise BadLabels(f"{name}: it is blank; accepted: {ACCEPTED}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by number from 1."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        number = 0
        while raw := stream.readline(MOST_BYTES + 1):
            number += 1
            whole = raw
            while len(whole) > MOST_BYTES and not whole.endswith(b"\n"):  # the rest of a line that is too long
                whole = stream.readline(MOST_BYTES + 1)
            text = (raw.removeprefix(BOM) if number == 1 else raw).strip()
            if text:
                yield number, text


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise InvalidRequest(f"it is longer than {MOST_BYTES:,} bytes; accepted: what the Messages API takes")
    return parse_json(raw, "line")


def _item(number: int, value: Mapping[str, Any]) -> Item:
    """The request of a line; raises `InvalidRequest`."""
    prompt, params = value.get("prompt"), value.get("params")
    if (prompt is None) == (params is None):
        raise InvalidRequest(
            f"it has {'neither prompt nor' if prompt is None else 'both prompt and'} params; accepted: "
            f"one of them, in {ACCEPTED}"
        )
    if prompt is not None and not (isinstance(prompt, str) and prompt.strip()):
        raise InvalidRequest(f"prompt: {quoted(prompt)}; accepted: a text")
    if params is not None and not isinstance(params, dict):
        raise InvalidRequest(f"params: {quoted(params)}; accepted: the object of a Messages API body")
    said = [{"role": "user", "content": prompt}]
    body = {"max_tokens": MAX_TOKENS, **(params if params is not None else {"messages": said})}
    parsed = parse_message({**body, "model": AUTO})  # a pinned one would not be labelled
    return Item(
        number=number,
        label=_label(value.get("label")),
        params={**parsed.body, "stream": False},
        ask=parsed.ask,
        max_tokens=parsed.max_tokens,
        weight=_weight(value.get("weight", 1)),
        id=_id(value.get("id")),
        prompt=prompt,
    )


def _label(value: object) -> Label:
    try:
        return Label(value)  # type: ignore[arg-type]  # whatever it is, it is one of them or not
    except (ValueError, TypeError):
        raise InvalidRequest(f"label: {quoted(value)}; accepted: {', '.join(Label)}") from None


def _weight(value: object) -> Decimal:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MOST_WEIGHT:
        return Decimal(str(value))
    raise InvalidRequest(f"weight: {quoted(value)}; accepted: a number above 0, such as 12.5")


def _id(value: object) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST_ID):
        return value
    raise InvalidRequest(f"id: {quoted(value)}; accepted: a text of 1 to {LONGEST_ID} characters")


def _once(lines_of: dict[str, int], item: Item) -> None:
    if item.id is not None and lines_of.setdefault(item.id, item.number) != item.number:
        raise InvalidRequest(f"id: {quoted(item.id)} is in line {lines_of[item.id]} already; accepted: each id once")
