"""The answers: simulated text, JSON that follows a schema, or tool calls; the same for the same request.

Text says that it is simulated. Output tokens are those of what is in the answer, at least 1 and never more than
`max_tokens`. `[[tool]]` in the last user text calls the first tool, `[[tool:NAME]]` that one, several of them several
at once; `[[bytes:N]]` asks for a text of N bytes. It thinks, in words that say so too, when `THINK_MARKER` is in the
last user text and `thinking` is not disabled. What a script says of an answer (`SCRIPTED`) goes before all this.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from infra.local.standin import large, thinking
from infra.local.standin.labels import last_user_text
from infra.local.standin.models import Model
from infra.local.standin.schemas import Dice, Generator
from infra.local.standin.tokens import TOOL_TOKENS, canonical, cut_to, text_tokens

TOOL_MARKER: Final = re.compile(r"\[\[tool(?::([\w-]+))?\]\]")
THINK_MARKER: Final = "[[think]]"
BEGINNING: Final = "[stand-in answer from {}] This answer is simulated: "
FILLER: Final = (
    "the request was received and read in full but no model was called so these words carry no meaning beyond their "
    "number which follows from the request and stays the same each time"
)
STOPS: Final = {"refusal": "refusal", "empty": "end_turn"}  # scripted answers without content, and why they end
SCRIPTED: Final = (*STOPS, "not-json")  # the last one: prose, whatever structured output is asked for
SHORTEST: Final = 8  # words
SPREAD: Final = 48


@dataclass(frozen=True, slots=True)
class Answer:
    """Content blocks, why they end, and what they count."""

    content: list[dict[str, Any]]
    stop_reason: str
    output_tokens: int
    stop_sequence: str | None = None


def compose(
    body: dict[str, Any], model: Model, *, word: str | None, ids: Callable[[str], str], scripted: str | None = None
) -> Answer:
    """The answer to a validated request.

    word: fills the label of a classifier's schema, the verdict of a verifier's. scripted: one of `SCRIPTED`.
    """
    dice = Dice(_seed(body, model))
    if scripted in STOPS:
        return Answer([], STOPS[scripted], 1)
    if scripted:
        return _text_answer(_prose(model, dice), body, model)
    answer = _said(body, model, dice, word=word, ids=ids)
    thinks = (body.get("thinking") or {}).get("type") != "disabled" and THINK_MARKER in last_user_text(body)
    return _after_thinking(answer, body["max_tokens"], model) if thinks else answer


def _after_thinking(answer: Answer, max_tokens: int, model: Model) -> Answer:
    """The answer with a thinking block before it, where there is room for both."""
    text = f"[stand-in thinking of {model.id}] This thought is simulated."
    tokens = answer.output_tokens + text_tokens(text, model)
    if tokens > max_tokens:
        return answer
    block = {"type": "thinking", "thinking": text, "signature": thinking.signature(model)}
    return Answer([block, *answer.content], answer.stop_reason, tokens, answer.stop_sequence)


def _said(body: dict[str, Any], model: Model, dice: Dice, *, word: str | None, ids: Callable[[str], str]) -> Answer:
    tools = _tools_to_call(body)
    if tools:
        return _tool_calls(tools, body["max_tokens"], model, dice, ids)
    output_format = (body.get("output_config") or {}).get("format")
    if output_format:
        text = json.dumps(Generator(output_format["schema"], dice, word).value(), ensure_ascii=False)
    elif wanted := large.size(last_user_text(body)):
        return _large_answer(wanted, body["max_tokens"], model)
    else:
        text = _prose(model, dice)
    return _text_answer(text, body, model)


def _large_answer(wanted: int, max_tokens: int, model: Model) -> Answer:
    made = min(wanted, max_tokens * large.TOKEN_BYTES)
    block = {"type": "text", "text": large.text(BEGINNING.format(model.id), made)}
    return Answer([block], "end_turn" if made == wanted else "max_tokens", large.tokens(made))


def _text_answer(text: str, body: dict[str, Any], model: Model) -> Answer:
    stop_reason, stop_sequence = "end_turn", None
    stops = [stop for stop in body.get("stop_sequences") or [] if stop and stop in text]
    if stops:
        stop_sequence = min(stops, key=text.index)
        stop_reason, text = "stop_sequence", text[: text.index(stop_sequence)]
    if text_tokens(text, model) > body["max_tokens"]:
        stop_reason, stop_sequence = "max_tokens", None
        text = cut_to(text, model, body["max_tokens"])
    blocks = [{"type": "text", "text": text}] if text else []
    return Answer(blocks, stop_reason, max(1, text_tokens(text, model)), stop_sequence)


def _tool_calls(
    tools: list[dict[str, Any]], max_tokens: int, model: Model, dice: Dice, ids: Callable[[str], str]
) -> Answer:
    made = [Generator(tool["input_schema"], dice).value() for tool in tools]
    tokens = sum(TOOL_TOKENS + text_tokens(canonical(value), model) for value in made)
    if tokens > max_tokens:
        return Answer([], "max_tokens", max_tokens)
    blocks = [
        {"type": "tool_use", "id": ids("toolu"), "name": tool["name"], "input": value}
        for tool, value in zip(tools, made, strict=True)
    ]
    return Answer(blocks, "tool_use", tokens)


def _tools_to_call(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The custom tools that `tool_choice` forces or the markers in the last user text ask for, in their order."""
    tools = {tool["name"]: tool for tool in body.get("tools") or [] if "input_schema" in tool}
    choice = body.get("tool_choice") or {"type": "auto"}
    wanted: list[str] = []
    if choice["type"] == "tool":
        wanted = [choice["name"]]
    elif choice["type"] == "any":
        wanted = [""]
    elif choice["type"] == "auto":
        wanted = [marker.group(1) or "" for marker in TOOL_MARKER.finditer(last_user_text(body))]
    first = next(iter(tools), "")
    return [tools[name] for name in dict.fromkeys(name or first for name in wanted) if name in tools]


def _prose(model: Model, dice: Dice) -> str:
    length = SHORTEST + dice.roll(SPREAD)
    filler = FILLER.split()
    first = dice.roll(len(filler))
    words = " ".join(filler[(first + i) % len(filler)] for i in range(length))
    return f"{BEGINNING.format(model.id)}{words}."


def _seed(body: dict[str, Any], model: Model) -> str:
    asked = {name: value for name, value in body.items() if name not in ("stream", "metadata", "model")}
    return hashlib.sha256(f"{model.id}|{canonical(asked)}".encode("utf-8", "surrogatepass")).hexdigest()
