"""Anthropic's Python SDK, one script for 0.x, 1.x and 2.x: what is used here is the same in all three."""

import functools
from collections.abc import Callable
from typing import Any

import anthropic
from pydantic import BaseModel

from tests.conformance.clients.protocol import Json, serve


class Person(BaseModel):
    """What `parse` is to make of the answer."""

    name: str
    age: int
    languages: list[str]


@functools.cache
def client(base: str, key: str) -> anthropic.Anthropic:
    """The client as a user makes it: nothing but the URL and the key, so the SDK's own retries are in force."""
    return anthropic.Anthropic(base_url=base, api_key=key)


def called(verb: Callable[[anthropic.Anthropic, Json], Any]) -> Callable[[Json], Json]:
    """A verb on the client that was asked for; what it gives becomes plain JSON."""

    def call(told: Json) -> Json:
        found: Json = plain(verb(client(told["base"], told["key"]), told))
        return found

    return call


def plain(value: Any) -> Any:
    """JSON of what the SDK gives."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def create(sdk: anthropic.Anthropic, told: Json) -> Any:
    raw = sdk.messages.with_raw_response.create(**told["body"])
    message = raw.parse()
    return {"message": message, "headers": dict(raw.headers), "request_id": message._request_id}


def events(sdk: anthropic.Anthropic, told: Json) -> Any:
    """The events that `create(stream=True)` gives, as they are."""
    return {"events": list(sdk.messages.create(**told["body"], stream=True))}


def stream(sdk: anthropic.Anthropic, told: Json) -> Any:
    """The streaming helper: its deltas, and the message that it puts together from them."""
    with sdk.messages.stream(**told["body"]) as helper:
        deltas = [event.delta for event in helper if event.type == "content_block_delta"]
        return {"message": helper.get_final_message(), "deltas": deltas}


def tools(sdk: anthropic.Anthropic, told: Json) -> Any:
    """Call, run the tools that Claude asks for, hand their results back."""
    body = told["body"]
    first = sdk.messages.create(**body)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"result of {block.name}"}
        for block in first.content
        if block.type == "tool_use"
    ]
    turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    return {"first": first, "second": sdk.messages.create(**(body | {"messages": [*body["messages"], *turns]}))}


def parse(sdk: anthropic.Anthropic, told: Json) -> Any:
    message = sdk.messages.parse(**told["body"], output_format=Person)
    assert isinstance(message.parsed_output, Person)
    return {"parsed": message.parsed_output, "text": message.model_dump()["content"][-1]["text"]}


def models_pages(sdk: anthropic.Anthropic, told: Json) -> Any:
    """All models by the SDK's own paging, `limit` a page."""
    pages = [[model.id for model in page.data] for page in sdk.models.list(limit=told["limit"]).iter_pages()]
    return {"pages": pages, "all": [model.id for model in sdk.models.list(limit=told["limit"])]}


def batch_results(sdk: anthropic.Anthropic, told: Json) -> Any:
    return {"results": list(sdk.messages.batches.results(told["id"]))}


def batch_list(sdk: anthropic.Anthropic, told: Json) -> Any:
    page = sdk.messages.batches.list(limit=told["limit"])
    return {"batches": page.data, "all": [batch.id for batch in sdk.messages.batches.list(limit=told["limit"])]}


serve(
    {
        "create": called(create),
        "events": called(events),
        "stream": called(stream),
        "tools": called(tools),
        "parse": called(parse),
        "count_tokens": called(lambda sdk, told: sdk.messages.count_tokens(**told["body"])),
        "models_list": called(lambda sdk, _: {"models": sdk.models.list().data}),
        "models_retrieve": called(lambda sdk, told: sdk.models.retrieve(told["id"])),
        "models_pages": called(models_pages),
        "batch_create": called(lambda sdk, told: sdk.messages.batches.create(requests=told["requests"])),
        "batch_retrieve": called(lambda sdk, told: sdk.messages.batches.retrieve(told["id"])),
        "batch_list": called(batch_list),
        "batch_results": called(batch_results),
        "batch_cancel": called(lambda sdk, told: sdk.messages.batches.cancel(told["id"])),
    }
)
