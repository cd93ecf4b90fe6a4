"""What changes in a body on its way to a model: its name, and what that model would reject; all else stays as it came.

A model that the caller named exactly gets the body exactly as it came: its refusals are Claude's own. Otherwise the
caller cannot know which model answers, so a field that this one does not take is brought to the nearest that it takes:

- `thinking.type`: `enabled` becomes `adaptive`; `disabled` becomes `between_tools`, the least that such a model can
  think, and the other way round; where there is nothing like it, the field is left out, and the model's default holds.
- `output_config.effort`: the next lower level that the model has; left out where it has none. `disabled` and
  `between_tools` go with efforts up to `high` on some models: asked not to think, it is the effort that gives way.
- `max_tokens`: the model's output limit at the most.
- `temperature`, `top_p`, `top_k` at anthropic-version 2023-06-01: left out where a model has them no more. At later
  versions no model takes them, so they go through, for Claude to refuse; of jobs, which name no version, they are
  left out.
- what goes with thinking goes when it does: edits of `context_management` that clear it.

What a forced `tool_choice`, a prefill or a long prompt needs is a matter of choosing the model: `core/capability.py`.
Sources: see `infra/catalogue/models.json`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cost_router.core.catalogue import Model

WITH_SAMPLING: Final = "2023-06-01"  # the last anthropic-version with sampling fields
SAMPLING: Final = ("temperature", "top_p", "top_k")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")  # from the least up
# `thinking.type` -> what is nearest to it, where a model takes that.
NEAREST: Final[Mapping[str, str]] = {
    "enabled": "adaptive",
    "adaptive": "",  # nothing is like it
    "disabled": "between_tools",
    "between_tools": "disabled",
}
# Tuples, because what a caller sent may be anything, lists among it.
QUIET: Final = ("disabled", "between_tools")  # values of `thinking.type`, which take no other member
BLOCKS: Final = ("thinking", "redacted_thinking")  # types of content blocks
CLEARING: Final = "clear_thinking"  # beginning of the type of such edits of `context_management`
DROPPED: Final = "dropped"


@dataclass(frozen=True, slots=True)
class Adapted:
    """A body as it goes to a model. changes: `FIELD=VALUE` or `FIELD=dropped`, beside `model`."""

    body: Mapping[str, Any]
    changes: tuple[str, ...] = ()


def adapt(body: Mapping[str, Any], model: Model, version: str | None = None) -> Adapted:
    """The body for `model`, its members in the order in which they came; a missing `model` is put first.

    version: the caller's `anthropic-version`; None for a job, which goes out with the latest one.
    """
    named = body.get("model")
    if named == model.id or named in model.aliases:
        return Adapted(body)
    found = dict(body) if "model" in body else {"model": model.id, **body}
    found["model"] = model.id
    changes = [
        *_most_tokens(found, model),
        *_thinking(found, model),
        *_effort(found, model),
        *_sampling(found, model, version),
    ]
    return Adapted(found, tuple(changes))


def without_thinking(body: Mapping[str, Any]) -> Adapted | None:
    """The body without thinking blocks of earlier turns; None when it has none.

    All of them go: what Claude refuses is a gap, or a block that was changed. With manual thinking the turn that called
    a tool would have to begin with one, so that is left out as well. Source:
    platform.claude.com/docs/en/build-with-claude/preserved-thinking.
    """
    messages = list(_without_blocks(body["messages"]))
    if messages == body["messages"]:
        return None
    found = {**body, "messages": messages}
    changes = [f"messages.thinking={DROPPED}"]
    thinking = body.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") == "enabled":
        del found["thinking"]
        changes += [f"thinking={DROPPED}", *_clearing(found)]
    return Adapted(found, tuple(changes))


def _without_blocks(messages: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list):
            yield message
            continue
        left = [block for block in content if block.get("type") not in BLOCKS]
        if len(left) == len(content):
            yield message
        elif left:  # a message without content is a 400
            yield {**message, "content": left}


def _most_tokens(body: dict[str, Any], model: Model) -> Iterator[str]:
    most = model.max_output_tokens
    if body.get("max_tokens", 0) <= most:
        return
    body["max_tokens"] = most
    yield f"max_tokens={most}"
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    if (
        isinstance(thinking, Mapping)
        and isinstance(budget, int)
        and budget >= most
        and "enabled" in model.thinking_types
    ):
        body["thinking"] = {**thinking, "budget_tokens": most // 2}  # it must be below, and leave room for the answer
        yield f"budget_tokens={most // 2}"


def _thinking(body: dict[str, Any], model: Model) -> Iterator[str]:
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if not isinstance(thinking, Mapping) or kind in model.thinking_types or kind not in tuple(NEAREST):
        return  # what the API does not know either is its own 400
    nearest = NEAREST[str(kind)]
    if nearest not in model.thinking_types:
        del body["thinking"]
        yield f"thinking={DROPPED}"
    elif nearest in QUIET:
        body["thinking"] = {"type": nearest}
        yield f"thinking={nearest}"
    else:
        others = {name: value for name, value in thinking.items() if name != "budget_tokens"}
        body["thinking"] = {**others, "type": nearest}
        yield f"thinking={nearest}"
        return
    yield from _clearing(body)


def _clearing(body: dict[str, Any]) -> Iterator[str]:
    """Leave out the edits that clear thinking: without thinking they are a 400."""
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, Mapping) else None
    if not isinstance(management, Mapping) or not isinstance(edits, list):
        return
    left = [edit for edit in edits if not (isinstance(edit, Mapping) and str(edit.get("type")).startswith(CLEARING))]
    if len(left) == len(edits):
        return
    others = {name: value for name, value in management.items() if name != "edits"}
    if left or others:
        body["context_management"] = {**management, "edits": left} if left else others
    else:
        del body["context_management"]
    yield f"{CLEARING}={DROPPED}"


def _effort(body: dict[str, Any], model: Model) -> Iterator[str]:
    config, thinking = body.get("output_config"), body.get("thinking")
    effort = config.get("effort") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or effort not in EFFORTS:
        return
    quiet = isinstance(thinking, Mapping) and thinking.get("type") in QUIET
    most = model.quiet_up_to if quiet and model.quiet_up_to else EFFORTS[-1]
    highest = min(EFFORTS.index(str(effort)), EFFORTS.index(most))
    nearest = next((level for level in reversed(EFFORTS[: highest + 1]) if level in model.efforts), None)
    if nearest == effort:
        return
    others = {name: value for name, value in config.items() if name != "effort"}
    if nearest is not None:
        body["output_config"] = {**config, "effort": nearest}
    elif others:
        body["output_config"] = others
    else:
        del body["output_config"]
    yield f"effort={nearest or DROPPED}"


def _sampling(body: dict[str, Any], model: Model, version: str | None) -> Iterator[str]:
    takes = model.sampling if version == WITH_SAMPLING else version is not None
    for name in SAMPLING:
        if name in body and not takes:
            del body[name]
            yield f"{name}={DROPPED}"
