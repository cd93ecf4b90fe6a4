"""Every client and every feature: the tests run what stands here, and the README's table is made of it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.conformance import features_endpoints as endpoints
from tests.conformance import features_errors as errors
from tests.conformance import features_messages as messages
from tests.conformance.case import Case
from tests.conformance.client import Client
from tests.conformance.environments import BIN, CLIENTS, node_environment, python_environment

ENTRANCES: Final = ("base_url", "streaming_url")


@dataclass(frozen=True, slots=True)
class Feature:
    """A story, and the row of the table to which it counts."""

    name: str
    row: str
    story: Callable[[Case], None]


def _features(row: str, *stories: Callable[[Case], None]) -> Iterator[Feature]:
    for story in stories:
        yield Feature(story.__name__.replace("_", "-"), row, story)


FEATURES: Final = (
    *_features("`auto`, a tier, a model id", messages.create_auto, messages.create_tier, messages.create_id),
    *_features("answer headers", messages.answer_headers),
    *_features(
        "streams: text, tool input, thinking", messages.stream_text, messages.stream_tool, messages.stream_thinking
    ),
    *_features("streams: the events themselves", messages.stream_events),
    *_features("tools, several at once", messages.tools, messages.parallel_tools),
    *_features("thinking, also kept between tool calls", messages.thinking, messages.thinking_with_tools),
    *_features("structured output", messages.structured),
    *_features("structured output by the client's helper", messages.parse),
    *_features("images, PDFs, text documents", messages.image, messages.pdf_document, messages.text_document),
    *_features("prompt caching", messages.caching),
    *_features("`temperature` of older clients", messages.old_sampling_fields),
    *_features("`count_tokens`", endpoints.count_tokens, endpoints.count_tokens_auto),
    *_features("models, by pages", endpoints.models_list, endpoints.models_retrieve, endpoints.models_pages),
    *_features(
        "Message Batches", endpoints.batch, endpoints.batch_list, endpoints.batch_cancel, endpoints.batch_errors
    ),
    *_features("errors: bad key, unknown model", errors.bad_key, errors.unknown_model),
    *_features("errors: Claude's refusal", errors.invalid_by_claude),
    *_features(
        "errors: a bad body, in the API's words",
        errors.invalid_messages,
        errors.invalid_max_tokens,
        errors.invalid_type,
        errors.invalid_role,
    ),
    *_features("errors: too large", errors.too_large),
    *_features(
        "errors: limits, overload, budget; no retry", errors.rate_limited, errors.overloaded, errors.over_budget
    ),
    *_features("errors in the middle of a stream", errors.broken_stream),
)


def python_driver(client: str, pins: str = "requirements.txt") -> Callable[[], list[str]]:
    """Starts `clients/CLIENT/driver.py` in the environment of a requirements file."""

    def command() -> list[str]:
        interpreter = python_environment(CLIENTS / client / pins)
        return [str(interpreter), "-m", f"tests.conformance.clients.{client}.driver"]

    return command


def node_driver(client: str, script: str) -> Callable[[], list[str]]:
    """Starts a script beside the `node_modules` of its own, where Node looks for packages."""

    def command() -> list[str]:
        folder = node_environment(CLIENTS / client)
        return [str(BIN / "node"), str(CLIENTS / client / script), str(folder)]

    return command


def claude_code_driver() -> list[str]:
    """Starts the driver that runs Claude Code; it needs nothing but Python itself."""
    folder = node_environment(CLIENTS / "claude_code")
    return [sys.executable, "-m", "tests.conformance.clients.claude_code.driver", str(folder)]


def raw_driver() -> list[str]:
    """Starts the driver that needs nothing but Python."""
    return [sys.executable, "-m", "tests.conformance.clients.raw_http.driver"]


def _anthropic_errors(package: str) -> dict[str, str]:
    return {
        "bad key": f"{package}.AuthenticationError",
        "unknown model": f"{package}.NotFoundError",
        "invalid": f"{package}.BadRequestError",
        "too large": f"{package}.RequestTooLargeError",
        "rate limited": f"{package}.RateLimitError",
        "overloaded": f"{package}.OverloadedError",
        "over budget": f"{package}.RateLimitError",
    }


ENDPOINTS: Final = (
    "models-list",
    "models-retrieve",
    "models-pages",
    "batch",
    "batch-list",
    "batch-cancel",
    "batch-errors",
)


def _without(reason: str, *features: str) -> dict[str, str]:
    return dict.fromkeys(features, reason)


NO_SAMPLING: Final = _without("the version that it sends has no `temperature` any more", "old-sampling-fields")
NO_HELPER: Final = _without("there is no helper without a client", "parse")

SDKS: Final = (
    Client(
        "anthropic-2",
        "`anthropic` 2.13",
        python_driver("anthropic_python", "2.txt"),
        "authorization",
        _anthropic_errors("anthropic") | {"too large": "anthropic.ContentTooLargeError"},
        cannot=NO_SAMPLING,
    ),
    Client(
        "anthropic-1",
        "`anthropic` 1.17",
        python_driver("anthropic_python", "1.txt"),
        "x-api-key",
        _anthropic_errors("anthropic"),
        cannot=NO_SAMPLING,
    ),
    Client(
        "anthropic-0",
        "`anthropic` 0.125",
        python_driver("anthropic_python", "0.txt"),
        "x-api-key",
        _anthropic_errors("anthropic"),
    ),
    Client(
        "typescript",
        "`@anthropic-ai/sdk` 1.13",
        node_driver("typescript", "driver.mjs"),
        "authorization",
        _anthropic_errors("Anthropic") | {"too large": "Anthropic.ContentTooLargeError"},
        cannot=NO_SAMPLING,
    ),
)

OTHERS: Final = (
    Client(
        "langchain",
        "`langchain-anthropic` 1.7",
        python_driver("langchain"),
        "authorization",
        _anthropic_errors("anthropic") | {"too large": "anthropic.ContentTooLargeError"},
        cannot=_without("LangChain shows no headers", "answer-headers")
        | _without("its SDK sends version 2026-10-21, which has no `temperature`", "old-sampling-fields")
        | _without("LangChain's own classes cannot hold such a body", "invalid-type", "invalid-role")
        | _without("LangChain gives chunks of its own in place of events", "stream-events")
        | _without("LangChain has no such calls", *ENDPOINTS),
    ),
    Client(
        "litellm",
        "`litellm` 1.110",
        python_driver("litellm"),
        "x-api-key",
        {
            "bad key": "litellm.AuthenticationError",
            "unknown model": "litellm.NotFoundError",
            "invalid": "litellm.BadRequestError",
            "too large": "litellm.BadRequestError",
            "rate limited": "litellm.RateLimitError",
            "overloaded": "litellm.InternalServerError",
            "over budget": "litellm.RateLimitError",
        },
        statuses={"too large": 400, "overloaded": 500},
        variables={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        cannot=_without("LiteLLM gives OpenAI's chunks in place of events", "stream-events")
        | _without("LiteLLM has `response_format`, its own helper", "structured")
        | _without("LiteLLM rewrites or refuses such a body itself", "invalid-messages", "invalid-type", "invalid-role")
        | _without("LiteLLM counts by itself", "count-tokens", "count-tokens-auto")
        | _without("LiteLLM's Anthropic provider has no such calls", *ENDPOINTS),
        hides_model=True,
    ),
    Client(
        "claude-code",
        "Claude Code 2.1",
        claude_code_driver,
        "authorization",
        dict.fromkeys(_anthropic_errors(""), "driver.ClaudeCodeFailed"),
        cannot=_without("`claude -p` shows no headers", "answer-headers")
        | _without("Claude Code sends no `temperature`", "old-sampling-fields")
        | _without("`claude -p` takes text", "image", "pdf-document", "text-document")
        | _without("Claude Code refuses by itself what a model cannot hold", "too-large")
        | _without("Claude Code asks again without streaming, and gets its answer", "broken-stream")
        | _without("Claude Code decides by itself", "structured", "count-tokens", "count-tokens-auto")
        | _without(
            "Claude Code sends whole requests only",
            *("invalid-by-claude", "invalid-messages", "invalid-max-tokens", "invalid-type", "invalid-role"),
        )
        | _without("Claude Code has no such calls", *ENDPOINTS),
        tools=("Read", "Glob"),
        own_tools=True,
        own_prompt=True,
        own_words=True,
    ),
    *(
        Client(
            f"http-{header}",
            f"HTTP, `{header}`",
            raw_driver,
            header,
            dict.fromkeys(_anthropic_errors(""), "driver.HTTPStatus"),
            variables={"KEY_HEADER": header, "VERSION": version},
            cannot=NO_HELPER | cannot,
        )
        for header, version, cannot in (("x-api-key", "2023-06-01", {}), ("authorization", "2026-10-21", NO_SAMPLING))
    ),
)

EVERYBODY: Final = (*SDKS, *OTHERS)
