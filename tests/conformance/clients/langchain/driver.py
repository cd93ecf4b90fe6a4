"""LangChain's ChatAnthropic, made and asked as its documentation does; what it gives is told in the API's shape."""

import functools
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from tests.conformance.clients.protocol import Json, serve

OF_THE_MODEL = ("model", "max_tokens", "thinking", "temperature")
OF_THE_CALL = ("output_config", "stop_sequences")


class Person(BaseModel):
    """What structured output is to make of the answer."""

    name: str
    age: int
    languages: list[str]


def model(told: Json) -> ChatAnthropic:
    """The model as a user makes it."""
    named = {name: value for name, value in told["body"].items() if name in OF_THE_MODEL}
    return ChatAnthropic(base_url=told["base"], api_key=told["key"], **named)


def runnable(told: Json) -> Any:
    """The model with its tools, and with what only a call can have."""
    body, made = told["body"], model(told)
    extra = {name: body[name] for name in OF_THE_CALL if name in body}
    if "tools" in body:
        return made.bind_tools(body["tools"], **extra)
    return made.bind(**extra) if extra else made


def turns(body: Json) -> list[BaseMessage]:
    """The messages of a body."""
    system = [SystemMessage(content=body["system"])] if "system" in body else []
    return [*system, *(HumanMessage(content=message["content"]) for message in body["messages"])]


def message(answer: AIMessage) -> Json:
    """The API's message, of what LangChain makes of it."""
    told = answer.response_metadata
    content = answer.content if isinstance(answer.content, list) else [{"type": "text", "text": answer.content}]
    calls = {call["id"]: call["args"] for call in answer.tool_calls}
    usage = answer.usage_metadata
    details = (usage or {}).get("input_token_details", {})
    return {
        "content": [block(item, calls) for item in content],
        "stop_reason": told["stop_reason"],
        "model": told["model_name"],
        "usage": {
            "output_tokens": usage and usage["output_tokens"],
            "cache_creation_input_tokens": details.get("cache_creation", 0)
            + details.get("ephemeral_1h_input_tokens", 0)
            + details.get("ephemeral_5m_input_tokens", 0),
            "cache_read_input_tokens": details.get("cache_read"),
        },
    }


def block(item: Any, calls: dict[str | None, Json]) -> Json:
    """A content block; a streamed one has an index, and its input among the tool calls."""
    found = {name: value for name, value in item.items() if name not in ("index", "partial_json", "caller")}
    return found | {"input": calls[item["id"]]} if item["type"] == "tool_use" else found


def create(told: Json) -> Json:
    return {"message": message(runnable(told).invoke(turns(told["body"])))}


def stream(told: Json) -> Json:
    chunks: list[AIMessageChunk] = list(runnable(told).stream(turns(told["body"])))
    deltas = [delta for chunk in chunks for delta in deltas_of(chunk)]
    whole = functools.reduce(lambda one, other: one + other, chunks)
    return {"message": message(whole), "deltas": deltas}


def deltas_of(chunk: AIMessageChunk) -> list[Json]:
    """What of a block came with a chunk, named as the API names it."""
    items = chunk.content if isinstance(chunk.content, list) else [{"type": "text", "text": chunk.content}]
    names = {"text": "text_delta", "thinking": "thinking_delta", "signature": "signature_delta"}
    found = [
        {"type": kind, name: item[name]}
        for item in items
        if isinstance(item, dict)
        for name, kind in names.items()
        if item.get(name)
    ]
    pieces = [{"type": "input_json_delta", "partial_json": call["args"]} for call in chunk.tool_call_chunks]
    return [*found, *(piece for piece in pieces if piece["partial_json"])]


def tools(told: Json) -> Json:
    asked, bound = turns(told["body"]), runnable(told)
    first = bound.invoke(asked)
    results = [ToolMessage(content=f"result of {call['name']}", tool_call_id=call["id"]) for call in first.tool_calls]
    return {"first": message(first), "second": message(bound.invoke([*asked, first, *results]))}


def parse(told: Json) -> Json:
    structured = model(told).with_structured_output(Person, method="json_schema")
    person = structured.invoke(turns(told["body"]))
    assert isinstance(person, Person)
    return {"parsed": person.model_dump()}


def count_tokens(told: Json) -> Json:
    tools = told["body"].get("tools")
    counted = model(told).get_num_tokens_from_messages(turns(told["body"]), tools=tools)
    return {"input_tokens": counted}


serve({"create": create, "stream": stream, "tools": tools, "parse": parse, "count_tokens": count_tokens})
