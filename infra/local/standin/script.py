"""The script: what a test tells the stand-in to do, as JSON to `POST /_script`.

    {"limits": {"rpm": 60, "itpm": 100000, "otpm": 20000, "burst_seconds": 60} or null,
     "limits_by_model": {"claude-haiku-5-5": {"rpm": 10}, "claude-opus-5-5": null},
     "latency": 0.2, "chunk_delay": 0.05, "report_delay": 300, "labels": ["simple", "complex"],
     "answers": ["refusal", "empty", "not-json"],
     "system_role": "accept" | "refuse" | "as_api", "forced_tool_use": "accept" | "refuse" | "as_api",
     "foreign_thinking": "refuse" | "as_api",
     "faults": [{"times": 2, "model": "...", "purpose": "classifier" | "verifier" | "answer", "latency": 1.0,
                 "status": 429, "retry_after": 7, "type": "rate_limit_error", "message": "...", "error_code": "..."},
                {"times": null, "kind": "cut_after"}, {"kind": "sse_cut", "after": 3}],
     "batch_seconds": 60, "batch_faults": [{"on": "create", "kind": "cut_after"}, {"on": "retrieve", "status": 404}],
     "line_faults": [{"times": 2, "model": "...", "result": "errored" | "expired" | "canceled", "type": "api_error"}]}

A field that is given replaces what was there; the others stay. New limits start with full buckets. Faults are tried in
order, and each applies to its next `times` matching calls (1 by default, null: all until replaced); one with a latency
only delays; `after` counts the events of a stream before its fault. A scripted label is used up by the next classifier
call that is billed; a scripted answer by the next call that is billed, is neither a classifier's nor a verifier's and
no line of a batch: `refusal` and `empty` have no content, `not-json` is prose whatever form is asked for. The usage and
cost report leaves out what is younger than `report_delay` seconds. A Message Batch takes `batch_seconds` (0: it has
ended at the next look); faults on batches apply to the requests named by `on`, those on lines when the batch is worked
on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.local.standin.faults import BatchFault, Fault, LineFault
from infra.local.standin.fitness import Switches
from infra.local.standin.limits import Limits
from infra.local.standin.script_fields import parse


@dataclass(slots=True)
class Script:
    """The state in force."""

    limits: Limits | None = None
    limits_by_model: dict[str, Limits | None] = field(default_factory=dict)
    latency: float = 0.0
    chunk_delay: float = 0.0
    report_delay: float = 0.0
    labels: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    switches: Switches = field(default_factory=Switches)
    faults: list[Fault] = field(default_factory=list)
    batch_seconds: float = 0.0
    batch_faults: list[BatchFault] = field(default_factory=list)
    line_faults: list[LineFault] = field(default_factory=list)

    def update(self, body: object) -> None:
        """Take over what `body` gives; a mistake raises a 400 that says what is accepted, and changes nothing."""
        new = parse(body)
        switches = {
            name: new.pop(name) for name in ("system_role", "forced_tool_use", "foreign_thinking") if name in new
        }
        for name, value in new.items():
            setattr(self, name, value)
        self.switches = Switches(**(asdict(self.switches) | switches))

    def fault_for(self, model: str, purpose: str, *, stream: bool) -> Fault | None:
        """The first fault that applies to such a call; it isn't used up by asking."""
        return next((fault for fault in self.faults if fault.matches(model, purpose, stream=stream)), None)

    def batch_fault_for(self, operation: str) -> BatchFault | None:
        """The first fault that applies to such a request, used up by one."""
        found = next((fault for fault in self.batch_faults if fault.times != 0 and fault.on == operation), None)
        if found:
            found.use()
        return found

    def line_fault_for(self, model: str) -> LineFault | None:
        """The first fault that applies to a line for that model, used up by one."""
        found = next((row for row in self.line_faults if row.times != 0 and row.model in (None, model)), None)
        if found:
            found.use()
        return found

    def state(self) -> dict[str, Any]:
        """The script as JSON, faults with the calls that they have left."""
        return {
            "limits": asdict(self.limits) if self.limits else None,
            "limits_by_model": {name: asdict(row) if row else None for name, row in self.limits_by_model.items()},
            "latency": self.latency,
            "chunk_delay": self.chunk_delay,
            "report_delay": self.report_delay,
            "labels": list(self.labels),
            "answers": list(self.answers),
            **asdict(self.switches),
            "faults": _left(self.faults),
            "batch_seconds": self.batch_seconds,
            "batch_faults": _left(self.batch_faults),
            "line_faults": _left(self.line_faults),
        }


def _left(faults: Sequence[Fault | BatchFault | LineFault]) -> list[dict[str, Any]]:
    """The faults that have calls left."""
    return [
        {name: value for name, value in asdict(fault).items() if value is not None or name == "times"}
        for fault in faults
        if fault.times != 0
    ]
