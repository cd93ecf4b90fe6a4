"""What the chosen model refuses, though the request is well-formed.

Wordings are those that clients reported in 2026. Three refusals are switches of the script: role "system" inside
`messages` and a forcing `tool_choice` (which some models refuse), and thinking blocks of another model.
"""

from dataclasses import dataclass
from typing import Any, Final

from infra.local.standin import thinking
from infra.local.standin.errors import invalid
from infra.local.standin.models import Model

ACCEPT: Final = "accept"
REFUSE: Final = "refuse"
AS_API: Final = "as_api"
LEAST_BUDGET: Final = 1_024  # tokens of thinking
SWITCH_VALUES: Final = (ACCEPT, REFUSE, AS_API)


@dataclass(frozen=True, slots=True)
class Switches:
    """Refusals that a test turns on: `accept`, `refuse` on every model, or `as_api`: on the models that do."""

    system_role: str = AS_API
    forced_tool_use: str = AS_API
    foreign_thinking: str = AS_API  # which drops them


def check(body: dict[str, Any], model: Model, switches: Switches) -> None:
    """Raise the 400 that the API gives for `body` on `model`."""
    _max_tokens(body, model)
    _sampling(body, model)
    _thinking(body, model)
    _effort(body, model)
    thinking.check(body, model, refuse_foreign=switches.foreign_thinking == REFUSE)
    _roles(body, model, switches.system_role)
    _forced_tool_use(body, model, switches.forced_tool_use)


def check_window(prompt_tokens: int, model: Model) -> None:
    """Raise the API's 400 for a prompt over the context window."""
    if prompt_tokens > model.context_window:
        raise invalid(f"prompt is too long: {prompt_tokens} tokens > {model.context_window} maximum")


def _max_tokens(body: dict[str, Any], model: Model) -> None:
    asked = body.get("max_tokens", 1)
    if asked > model.max_output_tokens:
        raise invalid(
            f"max_tokens: {asked} > {model.max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {model.id}"
        )


def _sampling(body: dict[str, Any], model: Model) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if name in body and not model.sampling:
            raise invalid(f"`{name}` is deprecated for this model.")


def _thinking(body: dict[str, Any], model: Model) -> None:
    thinking = body.get("thinking")
    if not thinking:
        return
    kind = thinking["type"]
    if kind not in model.thinking:
        lowest = "between_tools" if "between_tools" in model.thinking and kind == "disabled" else "adaptive"
        instead = lowest if lowest in model.thinking else "enabled"
        raise invalid(
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.{instead}" and '
            '"output_config.effort" to control thinking behavior.'
        )
    effort = (body.get("output_config") or {}).get("effort")
    if kind in ("disabled", "between_tools") and model.quiet_up_to_high and effort in ("xhigh", "max"):
        raise invalid(f'"thinking.type.{kind}" is not supported with "output_config.effort" {effort}.')
    if kind == "enabled":
        _budget(thinking.get("budget_tokens"), body.get("max_tokens"))


def _effort(body: dict[str, Any], model: Model) -> None:
    effort = (body.get("output_config") or {}).get("effort")
    if effort is None or effort in model.efforts:
        return
    if not model.efforts:
        raise invalid("This model does not support the effort parameter.")
    raise invalid(f'"output_config.effort.{effort}" is not supported for this model.')


def _budget(budget: object, max_tokens: int | None) -> None:
    if not isinstance(budget, int) or isinstance(budget, bool):
        raise invalid("thinking.enabled.budget_tokens: Field required")
    if budget < LEAST_BUDGET:
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if max_tokens is not None and budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _roles(body: dict[str, Any], model: Model, switch: str) -> None:
    roles = [message["role"] for message in body["messages"]]
    if "system" in roles and _refused(switch, accepts=model.system_role):
        raise invalid(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    turns = [message for message in body["messages"] if message["role"] != "system"]
    if turns and turns[-1]["role"] == "assistant" and not model.prefill and not _paused(turns[-1]["content"]):
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _paused(content: object) -> bool:
    """Whether a turn was paused in the middle of a server tool's work, and may go on."""
    kinds = [block["type"] for block in content] if isinstance(content, list) else []
    return any(kind == "server_tool_use" or kind.endswith("_tool_result") for kind in kinds)


def _forced_tool_use(body: dict[str, Any], model: Model, switch: str) -> None:
    forcing = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    if forcing and _refused(switch, accepts=model.forced_tool_use):
        raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')


def _refused(switch: str, *, accepts: bool) -> bool:
    return switch == REFUSE or (switch == AS_API and not accepts)
