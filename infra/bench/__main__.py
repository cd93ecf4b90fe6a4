"""Run every measure, print a line for each, write `.local/bench.json`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from infra.bench.bulk import bulk
from infra.bench.chaos import chaos
from infra.bench.measures import Measure, added_cpu, budget_race, bundle_size, import_ratio, store_trips
from infra.bench.quality import quality
from infra.bench.streaming import first_event, long_stream

FILE: Final = Path(__file__).parents[2] / ".local" / "bench.json"
MEASURES: Final[tuple[Callable[[], list[Measure]], ...]] = (
    added_cpu,
    first_event,
    long_stream,
    import_ratio,
    store_trips,
    budget_race,
    bundle_size,
    bulk,
    chaos,
    quality,
)


def main() -> None:
    """Measure, print, write."""
    console = Console(highlight=False)
    found: list[Measure] = []
    for measure in MEASURES:
        for result in measure():
            found.append(result)
            verdict = "" if result.target is None else ("  ok" if result.reached else "  MISSED")
            sign = ">=" if result.least else "<="
            target = "" if result.target is None else f"  target {sign} {result.target}"
            console.print(
                f"{result.name:<28} {result.value:>10.3f} {result.unit:<6}{target}{verdict}  ({result.against})",
                soft_wrap=True,
            )
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps({"measures": [result.json() for result in found]}, indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {FILE.relative_to(FILE.parents[1])}")


if __name__ == "__main__":
    main()
