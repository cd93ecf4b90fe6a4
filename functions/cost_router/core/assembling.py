"""Claude's message, put together from the events of its stream: what the same call gives when it is not streamed.

How the parts go together is what Anthropic's SDK does with them (`anthropic.lib.streaming`, 2.12): text, thinking and
the JSON of a tool's input are said piece by piece, a signature and a compaction whole, citations one by one; totals of
usage and what stands in a `message_delta` take the place of what `message_start` told.

A message that lacks something is worse than none. So whatever is not known here (an event, a part of a block, an order
of things) or cannot be written again as it came (a number with more digits than a double holds) raises `Unassembled`;
only unknown members beside a known part pass, which are hints on the way, such as an estimate of tokens.

One thing is cut on purpose: the input of a tool, where the answer has come to the end of its tokens. What the API says
of it unstreamed is not written anywhere; here it is what the SDK makes of it, the part that came whole, else nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from cost_router.core.errors import InvalidRequest
from cost_router.core.ports import Event
from cost_router.core.wire import encode

IGNORED: Final = frozenset({"", "ping"})
PIECES: Final = {"text_delta": "text", "thinking_delta": "thinking"}  # by delta, the member that it says a piece of
WHOLE: Final = {"signature_delta": ("signature",), "compaction_delta": ("content", "encrypted_content")}
INPUT: Final = "input"
CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})  # asked again it would be cut again
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_TOKEN: Final = re.compile(
    r'"(?:[^"\\]|\\.)*+("?)|[][{},:]|[^][{},:"\s]+', re.DOTALL
)  # of JSON; a text may lack its end


class Unassembled(ValueError):
    """The events are no message that is understood here; says which kind of thing was met, never what it held."""


@dataclass(slots=True)
class Assembly:
    """Takes the events of one stream in order; when the last has come it has the message."""

    message: dict[str, Any] = field(default_factory=dict, repr=False)
    whole: bool = False
    _pieces: dict[str, list[str]] = field(default_factory=dict, repr=False)  # of the block that is open, by member
    _open: bool = False
    _cut: str | None = field(default=None, repr=False)  # the input of the last block, if it is not whole

    def add(self, event: Event) -> None:
        """Take one event; raises `Unassembled`."""
        if event.type in IGNORED:
            return
        try:
            self._add(event.type, _data(event.raw))
        except Unassembled:
            raise
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise Unassembled(f"{event.type}: {type(error).__name__}") from None

    def content(self) -> bytes:
        """The message as JSON in UTF-8; raises `Unassembled` unless it is whole."""
        if not self.whole:
            raise Unassembled("the end of the message is missing")
        try:
            return encode(self.message)
        except (InvalidRequest, RecursionError) as error:
            raise Unassembled(f"the message: {type(error).__name__}") from None

    def _add(self, kind: str, data: Mapping[str, Any]) -> None:
        if self.whole or bool(self.message) == (kind == "message_start"):
            raise Unassembled(f"{kind}: out of order")
        match kind:
            case "message_start":
                self.message = dict(data["message"])
                if self.message["content"] != []:
                    raise Unassembled(f"{kind}: content")
            case "content_block_start":
                self._start(data["index"], dict(data["content_block"]))
            case "content_block_delta":
                self._check_open(data["index"])
                self._extend(self.message["content"][-1], data["delta"])
            case "content_block_stop":
                self._check_open(data["index"])
                self._stop(self.message["content"][-1])
            case "message_delta":
                self._change({name: value for name, value in data.items() if name != "type"})
            case "message_stop" if not self._open:
                self._end()
            case _:
                raise Unassembled(f"{kind}: unknown, or out of order")

    def _start(self, index: int, block: dict[str, Any]) -> None:
        if self._open or self._cut is not None or index != len(self.message["content"]):
            raise Unassembled("content_block_start: out of order")
        if not isinstance(block["type"], str) or block["type"] == "fallback":  # then another model goes on
            raise Unassembled("content_block_start: type")
        self._open, self._pieces = True, {}
        self.message["content"].append(block)

    def _check_open(self, index: int) -> None:
        if not self._open or index != len(self.message["content"]) - 1:
            raise Unassembled("content block: out of order")

    def _extend(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        kind = delta["type"]
        if kind in PIECES:
            member = PIECES[kind]
            self._pieces.setdefault(member, [block[member]]).append(delta[member])
        elif kind == "input_json_delta" and INPUT in block:
            self._pieces.setdefault(INPUT, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in WHOLE:
            block.update({member: delta[member] for member in WHOLE[kind] if member in delta})
        else:
            raise Unassembled("content_block_delta: type")

    def _stop(self, block: dict[str, Any]) -> None:
        for member, pieces in self._pieces.items():
            text = "".join(pieces)
            if member == INPUT:
                block[INPUT] = self._input(text) if text else block[INPUT]
            else:
                block[member] = text
        self._open = False

    def _input(self, text: str) -> Any:
        """The input of a tool; {} for the time being where it is not whole: the end tells why."""
        try:
            return _parsed(text)
        except (ValueError, RecursionError):
            if not _unfinished(text)[1]:
                raise
            self._cut = text
            return {}

    def _end(self) -> None:
        if self._cut is not None:
            if self.message["stop_reason"] not in CUT:
                raise Unassembled("message_stop: an input that is not whole")
            self.message["content"][-1][INPUT] = _whole_part(self._cut)
        self.whole = True

    def _change(self, data: dict[str, Any]) -> None:
        """Take what a `message_delta` tells; null takes the place of nothing."""
        if self._open:
            raise Unassembled("message_delta: out of order")
        usage, delta = data.pop("usage", None), data.pop("delta")
        if usage:
            told = {name: value for name, value in usage.items() if value is not None}
            data["usage"] = {**(self.message.get("usage") or {}), **told}
        for name, value in {**data, **delta}.items():
            if value is not None or name not in self.message:
                self.message[name] = value


def _data(raw: bytes) -> Mapping[str, Any]:
    """The JSON object in an event's bytes."""
    lines = [line.removeprefix(b"data:") for line in _LINE_END.split(raw) if line.startswith(b"data:")]
    found = _parsed(b"\n".join(lines).decode())
    if not isinstance(found, dict):
        raise Unassembled("an event without an object")
    return found


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=_number, parse_constant=_no_number)


def _whole_part(text: str) -> Any:
    """What of a JSON value that is cut short came whole; {} where that cannot be told."""
    end, missing = _unfinished(text)
    try:
        return _parsed(text[:end] + missing)
    except (ValueError, RecursionError):
        return {}


def _unfinished(text: str) -> tuple[int, str]:
    """Where the whole members of a JSON value that is cut short end, and the brackets that it lacks there."""
    end, before, brackets, last = 0, "", list[str](), len(text.rstrip())
    for token in _TOKEN.finditer(text):
        mark = token[0][0]
        if mark in "[{":
            brackets.append("]" if mark == "[" else "}")
        elif mark in "]}":
            del brackets[-1:]
        text_ends = mark == '"' and token[1] and (before == ":" or brackets[-1:] == ["]"])
        scalar_ends = mark not in '[]{},:"' and token.end() == last and _is_whole(token[0])
        if mark == ",":
            end = token.start()
        elif mark in "[]{}" or text_ends or scalar_ends:
            end = token.end()
        before = mark
    return end, "".join(reversed(brackets))


def _is_whole(scalar: str) -> bool:
    try:
        _parsed(scalar)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    """A double that is written again with the same value."""
    found = float(text)  # what a model wrote into a tool's input, or a hint; never money
    if Decimal(repr(found)) != Decimal(text):
        raise Unassembled("a number that a double does not hold")
    return found


def _no_number(_name: str) -> float:
    raise Unassembled("a number that is none in JSON")
