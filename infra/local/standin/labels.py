"""The stand-in's classifier: a label for a call whose structured output asks for one.

A call is a classifier call when its output schema has a property whose enum is exactly simple, moderate, complex. The
label is the next one of the script; else the marker `[[label:...]]` in the last user text; else a heuristic. The
heuristic knows a few kinds of asks by their words and is no model: the earliest phrase of the lists below decides,
whatever the length, and an ask that has none is moderate. It reads the last user message only: what stands between
`<request-...>` tags (or excerpt, ask, prompt, input, message), if there are any, without lines of `name=value` figures.
"""

import re
from typing import Any, Final

LABELS: Final = frozenset({"simple", "moderate", "complex"})

_MARKER = re.compile(r"\[\[label:(simple|moderate|complex)\]\]")
_TAGGED = re.compile(r"<((?:request|excerpt|ask|prompt|input|message)[\w-]*)>(.*)</\1>", re.DOTALL | re.IGNORECASE)
_FIGURES = re.compile(r"^.*(?:\b\w+=\S+[ ,;]*){3,}.*$", re.MULTILINE)

_PHRASES: Final = {
    "simple": (
        r"sentiment|positive or negative|positive, negative|what language|which language|in what language|language of|"
        r"languages? is (this|the)|detect the language|ask(s|ing)? for a (meeting|call)|(request|propos)\w* a meeting|"
        r"\bintents?\b|classif(y|ication)|categor(y|ise|ize)|which (queue|team|department)|is (this|it) spam|"
        r"yes or no|true or false|extract the|what is the capital|how do you spell|translate the word|"
        r"one word|single word"
    ),
    "moderate": (
        r"\bsql\b|top (ten|\d+)? ?customers|summar(y|ise|ize|ies)|bullets?\b|python function|unit tests?\b|"
        r"this function|small function|docstring|code review|review (this|the) (code|pull request)|regex|"
        r"rewrite|draft an?\b"
    ),
    "complex": (
        r"indemnif\w*|indemnity|risk analysis|analy[sz]e the (\w+ )?risks?|risks? (of|in|from) (this|the)|"
        r"legal (risk|analysis|opinion)|prove that|\bproof\b|theorem|threat model|root[- ]cause|race condition|"
        r"deadlock|design (a|an|the) \w+( \w+)? (system|architecture|protocol)|migration (plan|strategy)|"
        r"step[- ]by[- ]step plan|trade-?offs between|security audit|due diligence|liability"
    ),
}
_RULES = {label: re.compile(phrases, re.IGNORECASE) for label, phrases in _PHRASES.items()}


def asks_for_label(body: dict[str, Any]) -> bool:
    """Whether the call is a classifier call."""
    output_format = (body.get("output_config") or {}).get("format") or {}
    return _has_label(output_format.get("schema"))


def is_label_enum(schema: object) -> bool:
    """Whether the schema is an enum of exactly the three labels."""
    if not isinstance(schema, dict) or not isinstance(schema.get("enum"), list):
        return False
    values = schema["enum"]
    return all(isinstance(value, str) for value in values) and set(values) == LABELS


def label_of(body: dict[str, Any]) -> str:
    """The label by marker or heuristic, from the last user message."""
    text = last_user_text(body)
    marker = _MARKER.search(text)
    return marker.group(1) if marker else heuristic(text)


def heuristic(text: str) -> str:
    """The label whose phrase comes first in the ask; moderate when there is none."""
    tagged = _TAGGED.search(text)
    ask = _FIGURES.sub("", tagged.group(2) if tagged else text)
    found = {label: match.start() for label, rule in _RULES.items() if (match := rule.search(ask))}
    return min(found, key=found.__getitem__, default="moderate")


def last_user_text(body: dict[str, Any]) -> str:
    """The text blocks of the last message with role user; tool results are not text."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            return "\n".join(block["text"] for block in content if block["type"] == "text")
    return ""


def _has_label(schema: object) -> bool:
    if isinstance(schema, list):
        return any(map(_has_label, schema))
    if not isinstance(schema, dict):
        return False
    return is_label_enum(schema) or any(map(_has_label, schema.values()))
