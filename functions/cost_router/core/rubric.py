"""The classifier's question: the rubric as a system prompt, the ask as delimited data, one word as the answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.ask import Ask
from cost_router.core.catalogue import Model
from cost_router.core.words import Label

ANSWER_TOKENS: Final = 64  # room for {"label":"moderate"} and the wrapping a model may add
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": [label.value for label in Label]}},
    "required": ["label"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Rubric:
    """What each label means, with examples; `version` is part of the label cache's key."""

    version: str
    system: str

    @classmethod
    def parse(cls, data: Mapping[str, Any], domain: Mapping[str, Sequence[str]] | None = None) -> "Rubric":
        """The rubric of `data/rubric.json`; `domain` adds examples by label, and changes the version."""
        lines = [*data["intro"], ""]
        for label in Label:
            row = data["labels"][label.value]
            examples = [*row["examples"], *(domain or {}).get(label.value, ())]
            lines += [f"{label.value}: {row['definition']}", *(f"  - {example}" for example in examples), ""]
        lines += data["rules"]
        version = data["version"]
        if domain:
            version += "+" + json.dumps(domain, sort_keys=True, ensure_ascii=False)
        return cls(version=version, system="\n".join(lines))

    def question(self, ask: Ask, model: Model, nonce: str) -> dict[str, Any]:
        """The body of the classifier call; the excerpt is escaped and fenced by a nonce: data, not instruction."""
        fence = f"request-{nonce}"
        body: dict[str, Any] = {
            "model": model.id,
            "max_tokens": ANSWER_TOKENS,
            "system": self.system,
            "messages": [
                {
                    "role": "user",
                    "content": f"<{fence}>\n{_escape(ask.excerpt)}\n</{fence}>\nContext: {ask.digest}\n"
                    f"Label the request inside <{fence}>.",
                }
            ],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        }
        if model.thinking == "default_on":
            body["thinking"] = {"type": "disabled"}
        return body


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def read_label(message: Mapping[str, Any]) -> Label | None:
    """The label in the classifier's answer, None when it holds none."""
    content = message.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping) and block.get("type") == "text":
            try:
                return Label(json.loads(block["text"])["label"])
            except (KeyError, TypeError, ValueError):
                return None
    return None
