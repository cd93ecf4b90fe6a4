"""`cost-router sample` and `cost-router label`: own traffic, picked from the sample store and labelled by hand."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cost_router.core.words import Label
from infra.keystrokes import Keys, keystrokes, printable
from infra.operate.labelling import BadSample, Labels, Line, Session, read_sample
from infra.operate.samples import BY, Asked, pick, write_lines
from infra.operate.target import find_target
from infra.operate.what_if import DATA
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

INTERRUPTED: Final = 130  # exit code
KEYS: Final = {"s": Label.SIMPLE, "m": Label.MODERATE, "c": Label.COMPLEX}
ENDS: Final = ("q", "\x04", "")  # Ctrl-D, and the end of a pipe
SHOWN_KEYS: Final = "s simple  m moderate  c complex  k skip  u undo  q quit  ? definitions"


@says_what_is_wrong
def sample(
    *,
    n: Annotated[int, typer.Option("--n", help="how many requests")] = 200,
    days: Annotated[int, typer.Option(help="of the last N UTC days, with today")] = 7,
    by: Annotated[str, typer.Option(help=f"the same number of each: {', '.join(BY)}")] = "label",
    seed: Annotated[int, typer.Option(help="another one picks others")] = 0,
    out: Annotated[Path, typer.Option(help="file to write")] = Path("sample.jsonl"),
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Pick requests of your own traffic to label, from the samples that the deployment keeps (sample_percent).

    Each ask is picked once, rare labels as often as common ones; a line's weight says how many requests it stands for.
    """
    target = find_target(stack)
    made = pick(target, Asked(n, days, by, seed), dt.datetime.now(dt.UTC))
    lines = write_lines(target, made, out)
    if as_json:
        strata = [asdict(stratum) for stratum in made.strata]
        print(json.dumps({"out": str(out), "lines": lines, "listed": made.listed, "read": made.read, "strata": strata}))
        return
    table = Table(title=Text(f"Sample by {by}"), title_justify="left")
    for name in (by, "requests read", "asks", "picked"):
        table.add_column(Text(name), justify="left" if name == by else "right")
    for stratum in made.strata:
        table.add_row(Text(stratum.key), str(stratum.requests), str(stratum.asks), str(stratum.picked))
    console.print(table)
    said = f"{lines} of {made.listed} kept requests written to {out}: prompts of your users, as they came. "
    console.print(f"{said}Label them with: cost-router label {out}", markup=False, soft_wrap=True)


@says_what_is_wrong
def label(
    file: Annotated[Path, typer.Argument(metavar="SAMPLE.jsonl", help="what `cost-router sample` wrote")],
    *,
    out: Annotated[Path | None, typer.Option(help="file of labels; labels.jsonl beside the sample")] = None,
    show_routed: Annotated[bool, typer.Option("--show-routed", help="show what the router took it for")] = False,
    as_json: AsJson = False,
) -> None:
    """Label requests with one key each; every label is on disk at once, and the next run goes on where this stops."""
    lines, file_of_labels = read_sample(file), out or file.with_name("labels.jsonl")
    if file_of_labels.resolve() == file.resolve():
        raise BadSample(f"out {str(file_of_labels)!r} is the sample itself; accepted: another file")
    said = Console(highlight=False, stderr=True) if as_json else console
    interrupted = False
    with Labels.open(file_of_labels) as labels:
        session = Session.of(lines, labels)
        try:
            with keystrokes() as keys:
                Desk(said, session, show_routed=show_routed).sit(keys)
        except KeyboardInterrupt:
            interrupted = True
        done = sum(line.id in labels.known for line in lines)
    told = {"out": str(file_of_labels), "labelled": session.labelled, "skipped": session.skipped}
    told |= {"done": done, "of": len(lines)}
    if as_json:
        print(json.dumps(told))
    else:
        message = f"{session.labelled} labelled, {done} of {len(lines)} in {file_of_labels}"
        more = "" if done == len(lines) else "; the same command goes on"
        console.print(f"\n{message}{more}", markup=False, soft_wrap=True)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


class Desk:
    """Shows one request after the other and takes a key for each."""

    def __init__(self, said: Console, session: Session, *, show_routed: bool) -> None:
        """The requests that wait for a label, and where they are shown."""
        self.said = said
        self.session = session
        self.show_routed = show_routed

    def sit(self, keys: Keys) -> None:
        """Until all are done or somebody quits."""
        while (line := self.session.line) is not None:
            keys.forget()
            self._show(line)
            while True:
                self._print(f"\n{SHOWN_KEYS} > ", end="")
                key = keys.read()
                if key in ENDS:
                    return
                if self._take(key):
                    break

    def _take(self, key: str) -> bool:
        """Do what a key says; whether another request is to be shown."""
        if key in KEYS:
            self._print(KEYS[key])
            self.session.label(KEYS[key])
            return True
        if key == "k":
            self._print("skipped")
            self.session.skip()
            return True
        if key == "u":
            back = self.session.undo()
            self._print("back" if back else "nothing to undo in this sitting")
            return back
        if key == "?":
            self._define()
        return False

    def _show(self, line: Line) -> None:
        ask, session = line.ask, self.session
        place, total = session.before + session.place + 1, session.before + len(session.lines)
        self.said.rule(f"{place} of {total}, {session.before + session.labelled} labelled", style="dim")
        self._print(f"context: {ask.digest}")
        if ask.earlier:
            self._print("the ask before, which this one goes on with:")
            self._print(f"{printable(ask.earlier.text)}\n---")
        self._print(printable(ask.excerpt) or "(no text)")
        if ask.loop.rounds:
            results = f"{ask.loop.result_characters} characters of results"
            self._print(f"since then: {ask.loop.rounds} rounds of tool calls, {results}")
        if self.show_routed:
            self._print(f"the router took it for: {line.routed or 'nothing it tells'}")

    def _define(self) -> None:
        rubric: dict[str, Any] = json.loads((DATA / "rubric.json").read_text(encoding="utf-8"))
        for word in Label:
            told = rubric["labels"][word]
            self._print(f"\n{word}: {told['definition']}")
            for example in told["examples"]:
                self._print(f"  - {example}")

    def _print(self, text: str, end: str = "\n") -> None:
        self.said.print(text, end=end, markup=False, highlight=False, soft_wrap=True)
