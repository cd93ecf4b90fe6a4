"""Claude Code, as a script runs it: `claude -p`, with the router's URL and key in its environment.

Argument: the folder with its `node_modules`. Its home is empty, so it has no settings, and it may not look for updates
or send figures.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conformance.clients.protocol import Json, messages_of, serve

HOME = os.environ["HOME"]
COMMAND = str(Path(sys.argv[1]) / "node_modules" / ".bin" / "claude")
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}
LONGEST = 20  # seconds; one that retries for minutes has failed


class ClaudeCodeFailed(Exception):
    """A run that ended with an error; Claude Code itself tells the status."""

    def __init__(self, told: str, status: int | None) -> None:
        super().__init__(told)
        self.status_code = status


def run(told: Json, *options: str) -> list[Json]:
    """What one run told, line by line; raises `ClaudeCodeFailed`."""
    text = told["body"]["messages"][0]["content"]
    output = ["--output-format", "stream-json", "--include-partial-messages", "--verbose"]
    done = subprocess.run(
        [COMMAND, "-p", "--model", told["body"]["model"], *output, *options],
        input=text,
        cwd=HOME,
        env={
            **os.environ,
            **QUIET,
            "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
            "ANTHROPIC_BASE_URL": told["base"],
            "ANTHROPIC_AUTH_TOKEN": told["key"],
        },
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    print(done.stdout, done.stderr)  # noqa: T201 - into the driver's log
    lines: list[Json] = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1] if lines else {}
    if done.returncode or last.get("is_error", True):
        raise ClaudeCodeFailed(last.get("result") or done.stderr, last.get("api_error_status"))
    return lines


def messages(lines: list[Json]) -> list[Json]:
    """The assistant's messages, put together from the events that Claude Code passes on."""
    return messages_of(events_in(lines))


def events_in(lines: list[Json]) -> list[Json]:
    return [line["event"] for line in lines if line["type"] == "stream_event"]


def create(told: Json) -> Json:
    return {"message": messages(run(told))[-1]}


def stream(told: Json) -> Json:
    lines = run(told, "--tools", "Read")
    deltas = [event["delta"] for event in events_in(lines) if event["type"] == "content_block_delta"]
    return {"message": messages(lines)[0], "deltas": deltas}


def tools(told: Json) -> Json:
    """Claude asks for Claude Code's own tools; their results go back."""
    first, second = messages(run(told, "--tools", "Read,Glob"))
    return {"first": first, "second": second}


def parse(told: Json) -> Json:
    lines = run(told, "--json-schema", json.dumps(told["schema"]))
    return {"parsed": lines[-1]["structured_output"]}


serve(
    {
        "create": create,
        "events": lambda told: {"events": events_in(run(told))},
        "stream": stream,
        "tools": tools,
        "parse": parse,
    }
)
