"""`python -m tests.conformance.table`: which client passes what, as the README shows it; `--write` puts it there.

The table is made of the lists that the tests run, so a tick stands for tests, through both entrances, and a dash for
something that the client itself does not do: the reason is printed below the table here, and stands in `roster.py`.
"""

import sys
from collections.abc import Iterator
from typing import Final

from tests.conformance.client import Client
from tests.conformance.environments import ROOT
from tests.conformance.roster import EVERYBODY, FEATURES

README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- conformance -->"
END: Final = "<!-- /conformance -->"


def rows() -> dict[str, list[str]]:
    """The features of each row, in the order of the suite."""
    found: dict[str, list[str]] = {}
    for feature in FEATURES:
        found.setdefault(feature.row, []).append(feature.name)
    return found


def cell(client: Client, features: list[str]) -> str:
    """A tick when all features of a row are tested, a dash when none is, else how many are."""
    tested = [name for name in features if name not in client.cannot]
    if len(tested) == len(features):
        return "✓"
    return f"{len(tested)} of {len(features)}" if tested else "–"  # noqa: RUF001 - a dash of that length is meant


def table() -> str:
    """The table in Markdown."""
    lines = [["", *(client.title for client in EVERYBODY)], ["---", *(":-:" for _ in EVERYBODY)]]
    lines += [[row, *(cell(client, features) for client in EVERYBODY)] for row, features in rows().items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reasons() -> Iterator[str]:
    """Why there is a dash."""
    for client in EVERYBODY:
        for feature, reason in client.cannot.items():
            yield f"{client.id}: no {feature}: {reason}"


def shown() -> str:
    """The table that the README has now."""
    _, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    found, end, _ = rest.partition(END)
    if not end:
        raise ValueError(f"{README.name} has no table between {BEGIN} and {END}")
    return found.strip()


def write() -> None:
    """Put the table between the README's markers."""
    text = README.read_text(encoding="utf-8")
    README.write_text(text.replace(shown(), table()), encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        write()
    else:
        print(table(), *reasons(), sep="\n")  # noqa: T201 - a command
