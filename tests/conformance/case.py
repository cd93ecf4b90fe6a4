"""One client at one entrance: what it is told, what it asked, what reached Claude, and what Claude answered to that.

What a client has to see is never written down here: a request's answer is what the stand-in gives when the body that
reached it is posted to it once more, and the words of an error are those for the body that the client sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from infra.local.stack import LocalStack
from infra.local.standin import labels
from tests.conformance.client import Client
from tests.conformance.driver import Driver, Told
from tests.conformance.tap import Asked, Tap
from tests.integration.meter import TLS, Meter

Json = dict[str, Any]
FORWARDED: Final = ("anthropic-version", "anthropic-beta")
REPLAY: Final = {"x-conformance": "replay"}


@dataclass(frozen=True, slots=True, repr=False)
class Case:
    """What a feature's story is told with."""

    client: Client
    driver: Driver
    tap: Tap
    stack: LocalStack
    meter: Meter
    unique: Callable[[str], str]

    def tell(self, verb: str, *, key: str | None = None, **arguments: Any) -> Told:
        """Have the client do something with the stack's gateway key, or another one."""
        return self.driver.tell(verb, base=self.tap.url, key=key or self.stack.description["gateway_key"], **arguments)

    def ask(self, text: str, **more: Any) -> Json:
        """A Messages body with a text that no other test has asked."""
        return {
            "model": "haiku",
            "max_tokens": 400,
            "messages": [{"role": "user", "content": self.unique(text)}],
            **more,
        }

    def asked(self) -> list[Asked]:
        """What the client asked the router."""
        return self.tap.requests()

    def reached(self) -> list[Json]:
        """Requests that reached Claude, less the classifier's and the suite's own: `body`, `headers`."""
        rows = [row for row in self.meter.requests() if row["headers"].items().isdisjoint(REPLAY.items())]
        return [row for row in rows if not labels.asks_for_label(row["body"])]

    def forwarded(self) -> list[Json]:
        """Those of them that Claude answered: some clients leave out what was refused, and ask again."""
        answered = {call["request_id"] for call in self.meter.calls()}
        return [row for row in self.reached() if row["request_id"] in answered]

    def answer_to(self, row: Json) -> Json:
        """Claude's message for a request that reached it."""
        body = {name: value for name, value in row["body"].items() if name != "stream"}
        answer = self._post(body, row["headers"])
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def words_for(self, asked: Asked) -> str:
        """The message of the error that the API itself gives for what the client sent."""
        answer = self._post(asked.body, asked.headers)
        assert answer.status_code >= 400, answer.text
        words: str = answer.json()["error"]["message"]
        return words

    def _post(self, body: Json, headers: Json) -> httpx2.Response:
        kept = {name: headers[name] for name in FORWARDED if name in headers}
        headers = kept | REPLAY | {"x-api-key": "any"}
        return httpx2.post(f"{self.meter.url}/v1/messages", json=body, headers=headers, timeout=60, verify=TLS)


def unchanged(case: Case) -> None:
    """What the client sent reached Claude as it was: the body but for `model`, version and betas; never the key."""
    asked = [row for row in case.asked() if row.target.split("?")[0].endswith("/v1/messages")]
    reached = case.reached()
    assert len(asked) == len(reached) > 0, [row.target for row in case.asked()]
    for ours, theirs in zip(asked, reached, strict=True):
        assert theirs["body"] | {"model": ""} == ours.body | {"model": ""}
        for name in FORWARDED:
            assert theirs["headers"].get(name) == ours.headers.get(name), name
        assert case.client.key_header in ours.headers
        assert case.stack.description["gateway_key"] not in str(theirs)


def same(case: Case, message: Json, place: int = -1) -> Json:
    """The client's message is the one that Claude gave to the request at `place`; gives that."""
    row = case.forwarded()[place]
    expected = case.answer_to(row)
    assert [seen(block) for block in message["content"]] == [seen(block) for block in expected["content"]]
    assert message["stop_reason"] == expected["stop_reason"]
    assert message["usage"]["output_tokens"] == expected["usage"]["output_tokens"]
    assert case.client.hides_model or message["model"] == row["body"]["model"]
    return expected


def seen(block: Json) -> Json:
    """A content block without its id, which is never the same twice, and without members that only some have."""
    return {name: value for name, value in block.items() if value is not None and name not in ("id", "citations")}
