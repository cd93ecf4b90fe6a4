"""What happens to one validated call: fault, limits, prompt cache, answer, meter.

`StandIn.handle` runs without a pause, so calls that arrive at once are admitted one after the other, and it bills a
call when it is admitted: a client that hangs up during the latency pays all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from infra.local.standin import answers, fitness, labels, terms, tokens, verdicts
from infra.local.standin.caching import PromptCache
from infra.local.standin.errors import ApiError
from infra.local.standin.faults import Fault
from infra.local.standin.limits import Limiter
from infra.local.standin.meter import Billed, Meter
from infra.local.standin.models import Model
from infra.local.standin.script import Script

REFUSED: Final = {"type": "refusal", "category": None, "explanation": "Scripted: the stand-in refuses nothing itself."}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to go back: a message or an error, after `delay` seconds, with `kind` as the fault of the transport."""

    delay: float
    kind: str | None = None
    message: dict[str, Any] | None = None
    error: ApiError | None = None  # instead of the message, or what ends a stream
    headers: dict[str, str] | None = None
    after: int | None = None  # events before the fault of a stream


class StandIn:
    """The state behind the endpoints; `clock` gives seconds since the epoch, `ids` makes ids with a prefix."""

    def __init__(self, clock: Callable[[], float], ids: Callable[[str], str]) -> None:
        """Start without limits or faults."""
        self.clock = clock
        self.ids = ids
        self.script = Script()
        self.limiter = Limiter()
        self.cache = PromptCache()
        self.meter = Meter()

    def rescript(self, body: object) -> dict[str, Any]:
        """Change the script; returns the state now in force."""
        self.script.update(body)
        if isinstance(body, dict) and body.keys() & {"limits", "limits_by_model"}:
            self.limiter.configure(self.script.limits, self.script.limits_by_model)
        return self.script.state()

    def reset(self) -> None:
        """Clear script, limits, cache and meter."""
        self.script = Script()
        self.limiter.configure(None, {})
        self.cache.clear()
        self.meter.clear()

    def count(self, body: dict[str, Any], model: Model) -> int:
        """Prompt tokens of `body`."""
        return tokens.count(tokens.segments(body, model))

    def handle(self, body: dict[str, Any], model: Model, request_id: str, api_key_id: str | None = None) -> Outcome:
        """The outcome of a call; raises `ApiError` when the prompt is too long or a limit is reached."""
        now = self.clock()
        pieces = tokens.segments(body, model)
        fitness.check_window(tokens.count(pieces), model)
        purpose = _purpose(body)
        stream = body.get("stream") is True
        fault = self.script.fault_for(model.id, purpose, stream=stream)
        delay = self.script.latency + (fault.latency if fault else 0.0)
        if fault and not fault.billed:
            fault.use()
            return Outcome(delay, fault.kind, error=fault.error() if fault.status else None)
        plan = self.cache.plan(model, pieces, now)
        try:
            self.limiter.check(model.id, plan.limited, now)
        except ApiError:
            self.meter.refuse(model.id, now)
            raise
        word = self._word(body, purpose)
        scripted = self.script.answers.pop(0) if purpose == "answer" and self.script.answers else None
        answer = answers.compose(body, model, word=word, ids=self.ids, scripted=scripted)
        searched = terms.search(body, self.ids)
        usage = plan.usage(answer.output_tokens + searched.output_tokens) | terms.usage(body, searched)
        usage["input_tokens"] += searched.input_tokens
        self.cache.commit(plan, now)
        self.limiter.charge(model.id, plan.limited, answer.output_tokens, now)
        if fault:
            fault.use()
        kind = fault.kind if fault else None
        self.meter.bill(
            Billed(request_id, model.id, usage, purpose, stream, now, word, kind, api_key_id, user_id=_user_id(body))
        )
        return Outcome(
            delay,
            kind,
            self._message(model, answer, usage, searched.blocks),
            _stream_error(fault),
            self.limiter.headers(model.id, now),
            fault.after if fault else None,
        )

    def work(
        self, body: dict[str, Any], model: Model, batch: tuple[str, str], api_key_id: str | None
    ) -> dict[str, Any]:
        """The message for a line of a Message Batch; raises `ApiError` when the prompt is too long. No limits apply."""
        now = self.clock()
        pieces = tokens.segments(body, model)
        fitness.check_window(tokens.count(pieces), model)
        plan = self.cache.plan(model, pieces, now)
        purpose = _purpose(body)
        word = self._word(body, purpose)
        answer = answers.compose(body, model, word=word, ids=self.ids)
        searched = terms.search(body, self.ids)
        usage = plan.usage(answer.output_tokens + searched.output_tokens) | terms.usage(body, searched)
        usage["input_tokens"] += searched.input_tokens
        usage["service_tier"] = "batch"
        self.cache.commit(plan, now)
        message = self._message(model, answer, usage, searched.blocks)
        self.meter.bill(
            Billed(
                message["id"],
                model.id,
                usage,
                purpose,
                stream=False,
                at=now,
                label=word,
                fault=None,
                api_key_id=api_key_id,
                batch=batch,
                user_id=_user_id(body),
            )
        )
        return message

    def _word(self, body: dict[str, Any], purpose: str) -> str | None:
        """The label or the verdict that a call asks for."""
        if purpose == "answer":
            return None
        if purpose == "verifier":
            return verdicts.verdict_of(body)
        return self.script.labels.pop(0) if self.script.labels else labels.label_of(body)

    def _message(
        self, model: Model, answer: answers.Answer, usage: dict[str, Any], before: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "id": self.ids("msg"),
            "type": "message",
            "role": "assistant",
            "model": model.id,
            "content": [*before, *answer.content],
            "stop_reason": answer.stop_reason,
            "stop_sequence": answer.stop_sequence,
            "stop_details": REFUSED if answer.stop_reason == "refusal" else None,
            "usage": usage,
        }


def _purpose(body: dict[str, Any]) -> str:
    """What a call is for, by the structured output that it asks for."""
    if labels.asks_for_label(body):
        return "classifier"
    return "verifier" if verdicts.asks_for_verdict(body) else "answer"


def _stream_error(fault: Fault | None) -> ApiError | None:
    return fault.error() if fault and fault.kind else None


def _user_id(body: dict[str, Any]) -> str | None:
    found: str | None = (body.get("metadata") or {}).get("user_id")
    return found
