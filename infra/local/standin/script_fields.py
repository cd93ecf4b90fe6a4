"""The fields of the script's JSON: checked one by one, with a 400 that says what would be accepted."""

from collections.abc import Callable
from typing import Any, Final

from infra.local.standin.answers import SCRIPTED
from infra.local.standin.errors import invalid
from infra.local.standin.faults import (
    BATCH_KINDS,
    BATCH_OPERATIONS,
    KINDS,
    LINE_RESULTS,
    STREAM_ONLY,
    BatchFault,
    Fault,
    LineFault,
)
from infra.local.standin.fitness import AS_API, REFUSE, SWITCH_VALUES
from infra.local.standin.labels import LABELS
from infra.local.standin.limits import Limits
from infra.local.standin.models import MODELS, find

PURPOSES: Final = ("classifier", "answer", "verifier")
PER_MINUTE: Final = ("rpm", "itpm", "otpm")
LIMIT_FIELDS: Final = (*PER_MINUTE, "burst_seconds")
FAULT_FIELDS: Final = (
    *("times", "model", "purpose", "latency", "status", "kind"),
    *("retry_after", "type", "message", "error_code", "after"),
)
BATCH_FAULT_FIELDS: Final = ("on", "times", "status", "kind")
LINE_FAULT_FIELDS: Final = ("result", "times", "model", "type", "message")
HTTP_ERRORS: Final = range(400, 600)


def parse(body: object) -> dict[str, Any]:
    """The given fields, as `Script` keeps them."""
    return {name: _PARSERS[name](name, value) for name, value in _object("script", body, tuple(_PARSERS)).items()}


def _object(name: str, value: object, accepted: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{name}: {value!r} is not an object; accepted fields: {', '.join(accepted)}")
    for key in value:
        if key not in accepted:
            raise invalid(f"{name}: unknown field {key!r}; accepted: {', '.join(accepted)}")
    return value


def _limits(name: str, value: object) -> Limits | None:
    if value is None:
        return None
    given = {key: item for key, item in _object(name, value, LIMIT_FIELDS).items() if item is not None}
    rates = {key: _whole(f"{name}.{key}", given[key]) for key in PER_MINUTE if key in given}
    burst = _seconds(f"{name}.burst_seconds", given.get("burst_seconds", 60))
    return Limits(**rates, burst_seconds=burst)


def _limits_by_model(name: str, value: object) -> dict[str, Limits | None]:
    given = _object(name, value, (*MODELS, *(model.alias for model in MODELS.values())))
    return {_model(name, key): _limits(f"{name}.{key}", row) for key, row in given.items()}


def _each(read: Callable[[str, object], Any]) -> Callable[[str, object], list[Any]]:
    def read_all(name: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise invalid(f"{name}: {value!r} is not a list of faults")
        return [read(f"{name}.{i}", item) for i, item in enumerate(value)]

    return read_all


def _fault(name: str, value: object) -> Fault:
    read = _fields(name, value, FAULT_FIELDS, _FAULT_PARSERS)
    if ("status" in read and "kind" in read) or not read.keys() & {"status", "kind", "latency"}:
        raise invalid(f"{name}: accepted: a status, or a kind ({', '.join(KINDS)}), or only a latency")
    if "after" in read and read.get("kind") not in STREAM_ONLY:
        raise invalid(f"{name}.after: accepted: with the kinds {', '.join(STREAM_ONLY)} only")
    return Fault(**read)


def _batch_fault(name: str, value: object) -> BatchFault:
    read = _fields(name, value, BATCH_FAULT_FIELDS, _BATCH_FAULT_PARSERS)
    if "on" not in read or ("status" in read) == ("kind" in read):
        raise invalid(f"{name}: accepted: on ({', '.join(BATCH_OPERATIONS)}) and a status or a kind")
    return BatchFault(**read)


def _line_fault(name: str, value: object) -> LineFault:
    read = _fields(name, value, LINE_FAULT_FIELDS, _LINE_FAULT_PARSERS)
    if "result" not in read:
        raise invalid(f"{name}.result: Field required; accepted: {', '.join(LINE_RESULTS)}")
    return LineFault(**read)


def _fields(
    name: str, value: object, accepted: tuple[str, ...], parsers: dict[str, Callable[[str, object], Any]]
) -> dict[str, Any]:
    """The fields of a fault; of those that are null only `times` counts."""
    given = _object(name, value, accepted)
    read = {key: parsers[key](f"{name}.{key}", item) for key, item in given.items() if item is not None}
    return read | ({"times": None} if "times" in given and given["times"] is None else {})


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(f"{name}: {value!r}; accepted: a whole number above 0, or null")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid(f"{name}: {value!r}; accepted: a whole number, 0 or more")
    return value


def _status(name: str, value: object) -> int:
    if _whole(name, value) not in HTTP_ERRORS:
        raise invalid(f"{name}: {value!r}; accepted: 400 to 599")
    return int(str(value))


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise invalid(f"{name}: {value!r}; accepted: seconds, 0 or more")
    return float(value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise invalid(f"{name}: {value!r}; accepted: a string")
    return value


def _one_of(*accepted: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in accepted:
            raise invalid(f"{name}: {value!r}; accepted: {', '.join(accepted)}")
        return str(value)

    return read


def _words(*accepted: str) -> Callable[[str, object], list[str]]:
    read = _one_of(*accepted)

    def read_all(name: str, value: object) -> list[str]:
        if not isinstance(value, list):
            raise invalid(f"{name}: {value!r} is not a list; accepted: of {', '.join(accepted)}")
        return [read(f"{name}.{i}", word) for i, word in enumerate(value)]

    return read_all


def _model(name: str, value: object) -> str:
    model = find(value) if isinstance(value, str) else None
    if model is None:
        raise invalid(f"{name}: model {value!r} is not known; accepted: {', '.join(MODELS)}")
    return model.id


_FAULT_PARSERS: Final[dict[str, Callable[[str, object], Any]]] = {
    "times": _whole,
    "model": _model,
    "purpose": _one_of(*PURPOSES),
    "latency": _seconds,
    "status": _status,
    "kind": _one_of(*KINDS),
    "retry_after": _seconds,
    "type": _text,
    "message": _text,
    "error_code": _text,
    "after": _count,
}
_BATCH_FAULT_PARSERS: Final[dict[str, Callable[[str, object], Any]]] = {
    "on": _one_of(*BATCH_OPERATIONS),
    "times": _whole,
    "status": _status,
    "kind": _one_of(*BATCH_KINDS),
}
_LINE_FAULT_PARSERS: Final[dict[str, Callable[[str, object], Any]]] = {
    "result": _one_of(*LINE_RESULTS),
    "times": _whole,
    "model": _model,
    "type": _text,
    "message": _text,
}
_PARSERS: Final[dict[str, Callable[[str, object], Any]]] = {
    "limits": _limits,
    "limits_by_model": _limits_by_model,
    "latency": _seconds,
    "chunk_delay": _seconds,
    "report_delay": _seconds,
    "labels": _words(*sorted(LABELS)),
    "answers": _words(*SCRIPTED),
    "system_role": _one_of(*SWITCH_VALUES),
    "forced_tool_use": _one_of(*SWITCH_VALUES),
    "foreign_thinking": _one_of(REFUSE, AS_API),
    "faults": _each(_fault),
    "batch_seconds": _seconds,
    "batch_faults": _each(_batch_fault),
    "line_faults": _each(_line_fault),
}
