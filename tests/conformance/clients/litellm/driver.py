"""LiteLLM's Anthropic provider: asked as OpenAI is, and what it gives is told in the API's shape."""

import json
from typing import Any

import litellm
from pydantic import BaseModel

from tests.conformance.clients.protocol import Json, serve

STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
SAME_NAME = ("max_tokens", "thinking", "temperature")


class Person(BaseModel):
    """What structured output is to make of the answer."""

    name: str
    age: int
    languages: list[str]


def complete(told: Json, messages: list[Any], **more: Any) -> Any:
    """A completion as a user asks for it: `anthropic/` before the model, the router as `api_base`."""
    body = told["body"]
    named = {name: body[name] for name in SAME_NAME if name in body}
    if "tools" in body:
        named["tools"] = [function(tool) for tool in body["tools"]]
    if "thinking" in body:
        named["allowed_openai_params"] = ["thinking"]  # it knows the fields of models by their names, not of tiers
    model = f"anthropic/{body['model']}"
    return litellm.completion(
        model=model, api_base=told["base"], api_key=told["key"], messages=messages, **named, **more
    )


def function(tool: Json) -> Json:
    """A tool as OpenAI describes it."""
    described = {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}
    return {"type": "function", "function": described}


def turns(body: Json) -> list[Json]:
    """The messages as OpenAI takes them: data URLs for pictures and files."""
    system = [{"role": "system", "content": body["system"]}] if "system" in body else []
    return [*system, *({**message, "content": content(message["content"])} for message in body["messages"])]


def content(found: Any) -> Any:
    return [part(block) for block in found] if isinstance(found, list) else found


def part(block: Json) -> Json:
    """A content block as a part of an OpenAI message."""
    source = block.get("source", {})
    if block["type"] == "image":
        return {"type": "image_url", "image_url": {"url": data_url(source)}}
    if source.get("type") == "base64":
        return {"type": "file", "file": {"file_data": data_url(source)}}
    return block


def data_url(source: Json) -> str:
    return f"data:{source['media_type']};base64,{source['data']}"


def message(answer: Any) -> Json:
    """The API's message, of what LiteLLM makes of it."""
    choice = answer.choices[0]
    said = choice.message
    thoughts = [dict(block) for block in getattr(said, "thinking_blocks", None) or []]
    texts = [{"type": "text", "text": said.content}] if said.content else []
    uses = [
        {"type": "tool_use", "name": call.function.name, "input": json.loads(call.function.arguments)}
        for call in said.tool_calls or []
    ]
    usage = answer.usage
    return {
        "content": [*thoughts, *texts, *uses],
        "stop_reason": STOPS[choice.finish_reason],
        "model": answer.model,
        "usage": {
            "output_tokens": usage.completion_tokens,
            "cache_creation_input_tokens": getattr(usage, "cache_creation_input_tokens", None),
            "cache_read_input_tokens": getattr(usage, "cache_read_input_tokens", None),
        },
    }


def create(told: Json) -> Json:
    answer = complete(told, turns(told["body"]))
    headers = {
        name.removeprefix("llm_provider-"): value
        for name, value in answer._hidden_params["additional_headers"].items()
        if name.startswith("llm_provider-")
    }
    return {"message": message(answer), "headers": headers, "request_id": headers.get("request-id")}


def stream(told: Json) -> Json:
    asked = turns(told["body"])
    chunks = list(complete(told, asked, stream=True, stream_options={"include_usage": True}))
    deltas = [delta for chunk in chunks if chunk.choices for delta in deltas_of(chunk.choices[0].delta)]
    return {"message": message(litellm.stream_chunk_builder(chunks, messages=asked)), "deltas": deltas}


def deltas_of(delta: Any) -> list[Json]:
    """What of a block came with a chunk, named as the API names it."""
    found: list[Json] = [{"type": "text_delta", "text": delta.content}] if delta.content else []
    pieces = [call.function.arguments for call in delta.tool_calls or []]
    found += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces if piece]
    for block in getattr(delta, "thinking_blocks", None) or []:
        if block.get("thinking"):
            found.append({"type": "thinking_delta", "thinking": block["thinking"]})
        if block.get("signature"):
            found.append({"type": "signature_delta", "signature": block["signature"]})
    return found


def tools(told: Json) -> Json:
    asked = turns(told["body"])
    first = complete(told, asked)
    said = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"}
        for call in said.tool_calls
    ]
    return {"first": message(first), "second": message(complete(told, [*asked, said, *results]))}


def parse(told: Json) -> Json:
    answer = complete(told, turns(told["body"]), response_format=Person)
    return {"parsed": Person.model_validate_json(answer.choices[0].message.content).model_dump()}


litellm.suppress_debug_info = True
serve({"create": create, "stream": stream, "tools": tools, "parse": parse})
