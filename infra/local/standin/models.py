"""The models that the stand-in knows: one row each.

Sources: the models' pages, "what's new" and migration guides on platform.claude.com, and errors that clients reported,
read in November 2026. Not on record: the minimum cacheable prefix of Sonnet 5.5 and Opus 5.5 (512 is what Opus 5 and
Haiku 5.5 have).
"""

from dataclasses import dataclass
from typing import Final

MANUAL: Final = frozenset({"enabled", "disabled"})
ADAPTIVE: Final = frozenset({"adaptive", "disabled"})
NO_XHIGH: Final = ("low", "medium", "high", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: its windows, and the request fields it refuses; the defaults are those of the latest models."""

    id: str
    display_name: str
    line: str
    snapshot: str  # YYYYMMDD; `ID-SNAPSHOT` is an alias
    cache_minimum: int  # tokens; a shorter prefix is not cached, without an error
    thinking: frozenset[str]  # accepted values of `thinking.type`
    context_window: int = 1_000_000  # tokens
    max_output_tokens: int = 128_000
    newer_tokenizer: bool = True  # from 4.7 on: about 30 % more tokens for the same text
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")  # accepted values of `output_config.effort`
    sampling: bool = False  # takes temperature, top_p and top_k at version 2023-06-01
    prefill: bool = False  # takes an assistant message as the last one
    forced_tool_use: bool = True  # takes tool_choice "any" and "tool"
    system_role: bool = True  # takes role "system" inside `messages`
    fast: str | None = None  # takes `speed: fast`: "plain", or "beta" with the header that its preview asks for
    geographies: bool = True  # takes `inference_geo`
    quiet_up_to_high: bool = False  # refuses "disabled" and "between_tools" at efforts xhigh and max

    @property
    def alias(self) -> str:
        """The dated name of the model."""
        return f"{self.id}-{self.snapshot}"


_ROWS = (
    Model(
        id="claude-haiku-5-5", display_name="Claude Haiku 5.5", line="haiku", snapshot="20261007", cache_minimum=512,
        thinking=ADAPTIVE, quiet_up_to_high=True,
    ),
    Model(
        id="claude-sonnet-5-5", display_name="Claude Sonnet 5.5", line="sonnet", snapshot="20260928", cache_minimum=512,
        thinking=frozenset({"adaptive", "between_tools"}), forced_tool_use=False, quiet_up_to_high=True,
    ),
    Model(
        id="claude-opus-5-5", display_name="Claude Opus 5.5", line="opus", snapshot="20260922", cache_minimum=512,
        thinking=frozenset({"adaptive"}), forced_tool_use=False, fast="plain",
    ),
    Model(
        id="claude-opus-5", display_name="Claude Opus 5", line="opus", snapshot="20260724", cache_minimum=512,
        thinking=ADAPTIVE, quiet_up_to_high=True, fast="beta",
    ),
    Model(
        id="claude-sonnet-5", display_name="Claude Sonnet 5", line="sonnet", snapshot="20260630", cache_minimum=1_024,
        thinking=ADAPTIVE, system_role=False,
    ),
    Model(
        id="claude-opus-4-8", display_name="Claude Opus 4.8", line="opus", snapshot="20260528", cache_minimum=1_024,
        thinking=ADAPTIVE, fast="beta",
    ),
    Model(
        id="claude-opus-4-7", display_name="Claude Opus 4.7", line="opus", snapshot="20260416", cache_minimum=2_048,
        thinking=ADAPTIVE, system_role=False,
    ),
    Model(
        id="claude-sonnet-4-6", display_name="Claude Sonnet 4.6", line="sonnet", snapshot="20260217",
        cache_minimum=1_024, thinking=MANUAL | ADAPTIVE, efforts=NO_XHIGH, newer_tokenizer=False, sampling=True,
        system_role=False,
    ),
    Model(
        id="claude-opus-4-6", display_name="Claude Opus 4.6", line="opus", snapshot="20260205",
        cache_minimum=4_096, thinking=MANUAL | ADAPTIVE, efforts=NO_XHIGH, newer_tokenizer=False, sampling=True,
        system_role=False,
    ),
    Model(
        id="claude-opus-4-5", display_name="Claude Opus 4.5", line="opus", snapshot="20251101", cache_minimum=4_096,
        thinking=MANUAL, efforts=("low", "medium", "high"), context_window=200_000, max_output_tokens=64_000,
        newer_tokenizer=False, sampling=True, prefill=True, system_role=False, geographies=False,
    ),
    Model(
        id="claude-sonnet-4-5", display_name="Claude Sonnet 4.5", line="sonnet", snapshot="20250929",
        cache_minimum=1_024, thinking=MANUAL, efforts=(), context_window=200_000, max_output_tokens=64_000,
        newer_tokenizer=False,
        sampling=True, prefill=True, system_role=False, geographies=False,
    ),
    Model(
        id="claude-haiku-4-5", display_name="Claude Haiku 4.5", line="haiku", snapshot="20251001", cache_minimum=4_096,
        thinking=MANUAL, efforts=(), context_window=200_000, max_output_tokens=64_000, newer_tokenizer=False,
        sampling=True, prefill=True, system_role=False, geographies=False,
    ),
)  # fmt: skip

MODELS = {model.id: model for model in _ROWS}
_BY_NAME = MODELS | {model.alias: model for model in _ROWS}


def find(name: str) -> Model | None:
    """The model called `name` (id or dated alias), or None."""
    return _BY_NAME.get(name)
