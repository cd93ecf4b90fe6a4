"""`cost-router train` and `cost-router replay`: the quality of routing, offline."""

# ruff: noqa: PLR0913  a command has one argument per option; typer passes them by name

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from cost_router.core.preclassifier import Preclassifier
from infra.operate.labelled import BadLabels
from infra.terminal import AsJson, console, says_what_is_wrong

SHIPPED: Final = Path(__file__).parents[1] / "functions" / "cost_router" / "data" / "preclassifier.json"
LEAST, MOST = 0.5, 0.999  # an agreement that can be asked for
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="labels or outcomes, .jsonl or .jsonl.gz")]


@says_what_is_wrong
def train(
    files: Files,
    *,
    agreement: Annotated[float, typer.Option(help="how often a label has to be right to be given")] = 0.95,
    out: Annotated[Path, typer.Option(help="where the model is written")] = Path("preclassifier.json"),
    strength: Annotated[float | None, typer.Option(help="inverse of the penalty; tried out when left out")] = None,
    logged: Annotated[
        bool, typer.Option("--logged", help="of samples nobody has labelled, take the classifier's own labels")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a local pre-classifier on labels or outcomes, and say on held-out prompts how far it may be trusted.

    A line is {"prompt": "...", "label": "simple"}, {"params": {...}, "label": "simple"}, {"prompt": "...", "weak": 0,
    "strong": 1} or {"prompt": "...", "correct": {"MODEL": 1, ...}}. Nothing is sent anywhere.
    """
    if not LEAST <= agreement <= MOST:
        raise BadLabels(f"--agreement {agreement}; accepted: {LEAST} to {MOST}")
    if strength is not None and strength <= 0:
        raise BadLabels(f"--strength {strength}; accepted: a number above 0, such as 0.05")
    from infra.quality import report, rows, show, training  # noqa: PLC0415  scikit-learn takes seconds

    def say(line: str) -> None:
        if not as_json:
            console.print(line, style="dim", markup=False)

    report.check_folder(out)
    made = training.train(rows.read_rows(files, logged=logged), agreement, strength, say)
    facts = report.facts(made.data, made.model, made.tested)
    report.write(made.data, out)
    if as_json:
        told = {name: value for name, value in made.data.items() if name != "heads"}
        print(json.dumps({**told, **facts, "out": str(out)}, ensure_ascii=False))
    else:
        show.print_training(console, made.data, facts, out)


@says_what_is_wrong
def replay(
    file: Annotated[Path, typer.Argument(metavar="OUTCOMES.jsonl", help="outcomes by model, .jsonl or .jsonl.gz")],
    *,
    preclassifier: Annotated[Path, typer.Option(help="a model of `train`; the shipped one when left out")] = SHIPPED,
    labels: Annotated[Path | None, typer.Option(help="the classifier's labels: `evaluate --out`")] = None,
    weak: Annotated[str | None, typer.Option(help="the cheap model's name in the file")] = None,
    strong: Annotated[str | None, typer.Option(help="the dear model's name in the file")] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="only prompts that `train` holds out")] = False,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    svg: Annotated[Path | None, typer.Option(help="draw the curves into this file")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay routing policies on prompts whose outcomes are known: the cost/quality curve of each, with intervals.

    A line is {"prompt": "...", "weak": 0, "strong": 1} or {"prompt": "...", "correct": {"MODEL": 1, ...}}; a `label`
    beside them is what the rubric's classifier said. Nothing is sent anywhere.
    """
    from infra.quality import labels_file, plot, rows, show, splits  # noqa: PLC0415  numpy takes a while
    from infra.quality import replay as lab  # noqa: PLC0415  scikit-learn takes seconds

    model = read_model(preclassifier)
    found = [row for row in rows.read_rows([file]) if row.correct]
    if held_out:
        found = [row for row in found if splits.held_out(row.prompt)]
    if not found:
        raise BadLabels(f"{file}: no outcomes to replay; accepted: lines with weak and strong, or correct")
    known = {} if labels is None else labels_file.read_labels(labels)
    made = lab.replay(found, lab.choose_models(found, weak, strong), model, known, seed)
    if svg:
        curves = {name: measured.curve for name, measured in made.policies.items() if measured}
        try:
            svg.write_text(plot.svg([plot.Panel(f"{made.weak} or {made.strong}", curves)]), encoding="utf-8")
        except OSError as error:
            raise BadLabels(f"{svg}: {error.strerror}; accepted: a file that can be written") from error
    if as_json:
        print(json.dumps(made.json(), ensure_ascii=False))
    else:
        show.print_replay(console, made)


def read_model(path: Path) -> Preclassifier:
    """The model in a file; raises `BadLabels`."""
    accepted = "accepted: the JSON that `cost-router train` writes"
    try:
        return Preclassifier.parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadLabels(f"{path}: {error.strerror}; {accepted}") from error
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError):
        raise BadLabels(f"{path}: it is no JSON; {accepted}") from None
    except ValueError as error:
        raise BadLabels(f"{path}: {error}; {accepted}") from None
