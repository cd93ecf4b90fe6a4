"""What `cost-router train` tells of a model beside its figures, and how its file is written."""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cost_router.core.preclassifier import Preclassifier
from infra.operate.labelled import BadLabels
from infra.quality.rows import Row

MOST_BYTES: Final = 1_000_000
TIMED: Final = 2_000  # prompts


def facts(data: Mapping[str, Any], model: Preclassifier, rows: Sequence[Row]) -> dict[str, Any]:
    """Size in bytes, microseconds a prompt, and whether the model may be trusted."""
    return {
        "version": model.version,
        "bytes": len(written(data)),
        "microseconds": round(microseconds(model, [row.excerpt for row in rows[:TIMED]]), 1),
        "verdict": verdict(data),
    }


def verdict(data: Mapping[str, Any]) -> str:
    """Whether held-out data show that the model agrees as often as asked, in one or two sentences."""
    found, asked = data["held_out"]["agreement"], data["agreement"]
    if not any(value is not None for value in data["thresholds"].values()):
        return (
            f"It labels nothing: no label reached {asked:.0%} agreement on enough of these prompts. It can rank "
            "prompts (replay), but it saves no classifier call. More labels, or a lower --agreement, may change that."
        )
    if found is None:
        return "It labelled none of the held-out prompts: whether it may be trusted is not known. More labels tell."
    low, high = found["interval"]
    if low >= asked:
        return f"It may be trusted at {asked:.0%}: even the low end of its held-out interval is not under it."
    if high < asked:
        return f"It may not be trusted at {asked:.0%}: even the high end of its held-out interval is under it."
    said = f"Held-out prompts neither show nor refute {asked:.0%}: the interval has both sides of it."
    return f"{said} More labels narrow it."


def microseconds(model: Preclassifier, excerpts: Sequence[str]) -> float:
    """CPU time a prompt, in this process."""
    began = time.process_time()
    for excerpt in excerpts:
        model.chances(excerpt)
    return (time.process_time() - began) * 1e6 / max(1, len(excerpts))


def written(data: Mapping[str, Any]) -> bytes:
    """The model's file."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def check_folder(out: Path) -> None:
    """Whether a file can be there, asked before minutes go into training; raises `BadLabels`."""
    if out.is_dir() or not out.parent.is_dir():
        raise BadLabels(f"{out}: {'a folder' if out.is_dir() else 'its folder is not there'}; accepted: a file's name")


def write(data: Mapping[str, Any], out: Path) -> None:
    """Write the file, whole or not at all; raises `BadLabels`."""
    content = written(data)
    if len(content) > MOST_BYTES:
        raise BadLabels(f"the model has {len(content):,} bytes; accepted: {MOST_BYTES:,}")
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(out)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadLabels(f"{out}: {error.strerror}; accepted: a file that can be written") from error
