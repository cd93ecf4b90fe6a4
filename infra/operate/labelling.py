"""Labelling by hand: which lines of a sample wait for a label, and a file of labels that every label is in at once.

A label is written, flushed, when its key is pressed: whatever ends the command, nothing is lost, and the next run goes
on where this one stopped. Skipped lines come again in the next run.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from cost_router.core.ask import Ask
from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.words import AUTO, Label
from cost_router.handlers.schemas import parse_message
from cost_router.handlers.strict_json import parse_json

MAX_TOKENS: Final = 1024  # of a line that does not say
LONGEST_ID: Final = 200
ACCEPTED: Final = "a line of `cost-router sample`, or one with id and prompt"


class BadSample(ValueError):
    """A file of requests or labels cannot be used as it is; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A request to be labelled. value: its line, whole."""

    id: str
    ask: Ask = field(repr=False)
    value: Mapping[str, Any] = field(repr=False)

    @property
    def routed(self) -> Label | None:
        """The label that the router gave, if the line tells."""
        routed = self.value.get("routed")
        word = routed.get("label") if isinstance(routed, dict) else None
        return Label(word) if isinstance(word, str) and word in set(Label) else None

    def labelled(self, label: Label) -> dict[str, Any]:
        """The line with its label."""
        return {**self.value, "id": self.id, "label": label.value}


def read_sample(file: Path) -> list[Line]:
    """The requests of a sample; raises `BadSample`."""
    found: dict[str, Line] = {}
    for number, raw in _numbered(file):
        try:
            line = _line(parse_json(raw, "line"))
        except InvalidRequest as error:
            raise BadSample(f"{file}:{number}: {error}") from None
        if line.id in found:
            raise BadSample(f"{file}:{number}: id {quoted(line.id)} is there already; accepted: each id once")
        found[line.id] = line
    if not found:
        raise BadSample(f"{file}: it is empty; accepted: {ACCEPTED}")
    return list(found.values())


@dataclass(slots=True)
class Labels:
    """A file of labels, open for more; use it in a `with` block."""

    file: Path
    stream: BinaryIO
    known: set[str]  # ids that have a label

    @classmethod
    def open(cls, file: Path) -> Self:
        """The file, made for this user only when it is not there; raises `BadSample`.

        A last line that was cut by a crash is taken away.
        """
        try:
            file.touch(mode=0o600)
            content = file.read_bytes()
            if content and not content.endswith(b"\n"):
                cut = content.rfind(b"\n") + 1
                content = content + b"\n" if _is_json(content[cut:]) else content[:cut]
            known = {_labelled_id(file, number, raw) for number, raw in _lines(content)}
            stream = file.open("r+b")
        except OSError as error:
            raise BadSample(f"{file}: {error.strerror}; accepted: a file that can be written") from error
        made = cls(file, stream, known)
        made._end_with(content)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stream.close()

    def add(self, line: Line, label: Label) -> int:
        """Write a label; gives where it begins, for `take_back`."""
        place = self.stream.tell()
        self.stream.write(json.dumps(line.labelled(label)).encode() + b"\n")
        self.stream.flush()
        self.known.add(line.id)
        return place

    def _end_with(self, content: bytes) -> None:
        self.stream.write(content)
        self.stream.truncate()
        self.stream.flush()

    def take_back(self, line: Line, place: int) -> None:
        """Remove the last label, which begins at `place`."""
        self.stream.truncate(place)
        self.stream.seek(place)
        self.stream.flush()
        self.known.discard(line.id)


@dataclass(slots=True)
class Session:
    """One sitting: lines in order, each labelled, skipped or taken back."""

    lines: list[Line]
    labels: Labels
    before: int = 0  # lines that had their label already
    place: int = 0
    _done: list[tuple[int, int | None]] = field(default_factory=list)  # line, and where its label begins; None: skipped

    @classmethod
    def of(cls, lines: list[Line], labels: Labels) -> Self:
        """A sitting over the lines that have no label yet."""
        left = [line for line in lines if line.id not in labels.known]
        return cls(left, labels, len(lines) - len(left))

    @property
    def line(self) -> Line | None:
        """The line to be labelled; None when all are done."""
        return self.lines[self.place] if self.place < len(self.lines) else None

    @property
    def labelled(self) -> int:
        """How many lines have been labelled in this sitting."""
        return sum(begins is not None for _, begins in self._done)

    @property
    def skipped(self) -> int:
        """How many lines have been skipped in this sitting."""
        return len(self._done) - self.labelled

    def label(self, label: Label) -> None:
        """Label the line and go on."""
        self._done.append((self.place, self.labels.add(self.lines[self.place], label)))
        self.place += 1

    def skip(self) -> None:
        """Go on without a label."""
        self._done.append((self.place, None))
        self.place += 1

    def undo(self) -> bool:
        """Go back to the line before, without its label; false when this sitting has none before."""
        if not self._done:
            return False
        self.place, begins = self._done.pop()
        if begins is not None:
            self.labels.take_back(self.lines[self.place], begins)
        return True


def _numbered(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadSample(f"{file}: {error.strerror}; accepted: a file of `cost-router sample`") from error
    return _lines(content)


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if raw.strip():
            yield number, raw


def _line(value: dict[str, Any]) -> Line:
    """The request of a line; raises `InvalidRequest`."""
    prompt, params = value.get("prompt"), value.get("params")
    if (prompt is None) == (params is None):
        raise InvalidRequest(f"it has {'neither' if prompt is None else 'both'} of prompt and params; accepted: one")
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidRequest("prompt: it is no text; accepted: a text")
    if params is not None and not isinstance(params, dict):
        raise InvalidRequest("params: it is no object; accepted: a Messages API body")
    body = params if params is not None else {"messages": [{"role": "user", "content": prompt}]}
    parsed = parse_message({"max_tokens": MAX_TOKENS, **body, "model": AUTO})
    id_ = value.get("id")
    if id_ is None:
        id_ = hashlib.sha256(json.dumps([prompt, params], sort_keys=True).encode()).hexdigest()[:24]
    if not isinstance(id_, str) or not 0 < len(id_) <= LONGEST_ID:
        raise InvalidRequest(f"id: {quoted(id_)}; accepted: a text of 1 to {LONGEST_ID} characters")
    return Line(id_, parsed.ask, value)


def _labelled_id(file: Path, number: int, raw: bytes) -> str:
    """The id of a line that this command has written."""
    try:
        value = parse_json(raw, "line")
    except InvalidRequest as error:
        raise BadSample(f"{file}:{number}: {error}") from None
    id_, label = value.get("id"), value.get("label")
    if not isinstance(id_, str):
        raise BadSample(f"{file}:{number}: id: {quoted(id_)}; accepted: a text")
    if not isinstance(label, str) or label not in set(Label):
        raise BadSample(f"{file}:{number}: label: {quoted(label)}; accepted: {', '.join(Label)}")
    return id_


def _is_json(raw: bytes) -> bool:
    try:
        parse_json(raw)
    except InvalidRequest:
        return False
    return True
