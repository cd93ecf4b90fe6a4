"""Labels by prompt or id, as `cost-router evaluate --out` writes them: what the rubric's classifier said."""

from pathlib import Path

from cost_router.core.errors import InvalidRequest, quoted
from cost_router.core.words import Label
from cost_router.handlers.strict_json import parse_json
from infra.operate.labelled import BadLabels

ACCEPTED = '{"prompt": "...", "predicted": "simple"}, or "id" in place of "prompt"'


def read_labels(path: Path) -> dict[str, Label]:
    """Label by prompt (white space around it let be) or id; raises `BadLabels` that names the line."""
    found: dict[str, Label] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadLabels(f"{path}: {error.strerror}; accepted: a file with lines such as {ACCEPTED}") from error
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            value = parse_json(raw, "line")
        except InvalidRequest as error:
            raise BadLabels(f"{path} line {number}: {error}") from None
        label = value.get("predicted", value.get("label"))
        if not isinstance(label, str) or label not in set(Label):
            raise BadLabels(f"{path} line {number}: predicted: {quoted(label)}; accepted: {', '.join(Label)}")
        names = [name for name in (value.get("prompt"), value.get("id")) if isinstance(name, str)]
        if not names:
            raise BadLabels(f"{path} line {number}: members {quoted(sorted(value))}; accepted: {ACCEPTED}")
        found |= dict.fromkeys((name.strip() for name in names), Label(label))
    return found
