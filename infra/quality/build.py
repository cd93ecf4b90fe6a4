"""Trains the shipped pre-classifier on the public outcomes: `python -m infra.quality.build [--check]`.

The same data and the same versions (`uv.lock`) give the same file, byte for byte; `--check` says whether they do.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from infra.quality.public import FILES, STRENGTH
from infra.quality.report import verdict, write, written
from infra.quality.rows import read_rows
from infra.quality.training import train

SHIPPED: Final = Path(__file__).parents[2] / "functions" / "cost_router" / "data" / "preclassifier.json"
AGREEMENT: Final = 0.75  # little more can be reached on these data: docs/routing-quality.md


def main() -> None:
    """Write the file, or compare it with what is there."""
    parser = argparse.ArgumentParser(prog="python -m infra.quality.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    asked = parser.parse_args()
    made = train(read_rows([*FILES.values()]), AGREEMENT, STRENGTH, print)
    if not asked.check:
        write(made.data, SHIPPED)
    elif SHIPPED.read_bytes() != written(made.data):
        sys.exit(f"{SHIPPED} is not what the public data give; accepted: what `python -m infra.quality.build` writes")
    print(f"{SHIPPED.name} {made.model.version}: {verdict(made.data)}")


if __name__ == "__main__":
    main()
