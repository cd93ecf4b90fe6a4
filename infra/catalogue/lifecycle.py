"""Days that prices and models are known by: when prices were released, when a model will be retired."""

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from anthropic.resources.messages import DEPRECATED_MODELS

UV_LOCK: Final = Path(__file__).parents[2] / "uv.lock"
SPELT_OUT: Final = re.compile(r"([A-Z][a-z]+) (\d{1,2})(?:st|nd|rd|th), (\d{4})")  # November 30th, 2026


class LifecycleError(Exception):
    """A day cannot be told; the message says from where it was to come."""


def released_on(package: str, version: str, lock: Path = UV_LOCK) -> str:
    """The UTC day YYYY-MM-DD on which a version was uploaded, as uv.lock keeps it: the age of what it holds."""
    packages = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    pinned = next((row for row in packages if row["name"] == package), None)
    if pinned is None or pinned["version"] != version:
        raise LifecycleError(f"{package} {version} is installed, {lock.name} pins {pinned and pinned['version']}")
    files = [*pinned.get("wheels", ()), *([pinned["sdist"]] if "sdist" in pinned else [])]
    days = [str(file["upload-time"])[:10] for file in files if "upload-time" in file]
    if not days:
        raise LifecycleError(
            f"{lock.name} has no upload-time of {package} {version}: run `uv lock` against an index that tells it"
        )
    return min(days)


def retires_on(
    model: str, hand_kept: Mapping[str, Any], deprecated: Mapping[str, str] = DEPRECATED_MODELS
) -> dict[str, str]:
    """`{"retires_on": "YYYY-MM-DD"}` of a deprecated model, by the SDK's list or else by models.json; else nothing."""
    names = (model, *hand_kept.get("aliases", ()))
    days = [_day(name, deprecated[name]) for name in names if name in deprecated]
    if "retires_on" in hand_kept:
        days.append(dt.date.fromisoformat(hand_kept["retires_on"]))
    return {"retires_on": min(days).isoformat()} if days else {}


def _day(model: str, text: str) -> dt.date:
    found = SPELT_OUT.fullmatch(text)
    if not found:
        raise LifecycleError(
            f"the SDK's end-of-life day of {model} is {text!r}; read are days such as 'June 15th, 2026'"
        )
    return dt.datetime.strptime(" ".join(found.groups()), "%B %d %Y").replace(tzinfo=dt.UTC).date()
