"""`cost-router dead-letters`: jobs that were set aside."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from infra.operate.dead_letters import QueueProblem, list_letters, redrive, show_letter
from infra.operate.target import find_target
from infra.terminal import AsJson, Stack, console, says_what_is_wrong

dead_letters_app = typer.Typer(no_args_is_help=True, help="Jobs that were set aside: look at them, send them back.")
COLUMNS: Final = ("id", "group", "custom_id", "sent", "reason", "size")


@dead_letters_app.command("list")
@says_what_is_wrong
def dead_letters_list(
    *,
    limit: Annotated[int, typer.Option(min=1, help="how many are shown at the most")] = 100,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs that were set aside, oldest first; never their prompts, and looking takes nothing away.

    A job without a reason was moved by SQS itself, after 1,000 receives. Times are UTC, sizes bytes.
    """
    found = list_letters(find_target(stack), limit)
    if as_json:
        print(json.dumps(found))
        return
    shown = len(found["messages"])
    if shown:
        console.print(_table(found["messages"]))
    if shown < found["total"]:
        others = "--limit N shows more" if shown >= limit else "somebody else is reading the others at this moment"
        console.print(f"{shown} of about {found['total']} dead letters; {others}")
    elif not shown:
        console.print("no dead letters")


@dead_letters_app.command("show")
@says_what_is_wrong
def dead_letters_show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="as `list` shows it")],
    *,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Show one of them whole, with its body and so with its prompt; looking takes nothing away."""
    found = show_letter(find_target(stack), id_)
    if as_json:
        print(json.dumps(found))
        return
    told = {name: found[name] for name in COLUMNS} | found["attributes"] | found["message_attributes"]
    for name, value in (told | {"sent": _second(found["sent"])}).items():
        _say(f"{name:<32} {_cell(value)}")
    _say(_pretty(found["body"]))


@dead_letters_app.command("redrive")
@says_what_is_wrong
def dead_letters_redrive(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="as `list` shows them")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="all that are there, instead of ids")] = False,
    stack: Stack = None,
    as_json: AsJson = False,
) -> None:
    """Send jobs back to the jobs queue, each with its count of failures taken back; ends with 1 when some stayed.

    SQS names you as the sender of a job that you send back: a tenant with `--senders` has to allow your principal, too,
    or the job fails (`cost-router keys set TENANT --senders ...`). A body that is not JSON is never sent back.
    """
    if everything and ids:
        raise QueueProblem(f"--all and the id {ids[0]!r} contradict each other; accepted: either ids or --all")
    if not everything and not ids:
        raise QueueProblem("nothing to send back; accepted: ids that `cost-router dead-letters list` shows, or --all")
    done = redrive(find_target(stack), None if everything else ids)
    if as_json:
        print(json.dumps(done.json()))
    else:
        _say(f"sent back {len(done.sent_back)}, stayed {len(done.stayed)}")
        for id_, why in done.stayed.items():
            _say(f"  {id_} stayed: {why}")
    if done.stayed:
        raise typer.Exit(1)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table()
    for name in COLUMNS:
        table.add_column(
            name,
            overflow="fold",  # a cell is folded, never cut
            no_wrap=name == "id",  # so that it can be copied in one piece
            justify="right" if name == "size" else "left",
        )
    for row in rows:
        shown: Mapping[str, Any] = row | {"sent": _second(row["sent"])}
        table.add_row(*(Text(_visible(_cell(shown[name]))) for name in COLUMNS))
    return table


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (RecursionError, ValueError):  # no JSON: as it is
        return body


def _say(text: str) -> None:
    console.print(_visible(text), markup=False, soft_wrap=True)


def _visible(text: str) -> str:
    """`text` with control characters and lone surrogates escaped: whoever may send jobs must not steer a terminal."""
    plain = (letter in "\n\t" or unicodedata.category(letter) not in {"Cc", "Cs"} for letter in text)
    return "".join(
        letter if shown else letter.encode("unicode_escape").decode() for letter, shown in zip(text, plain, strict=True)
    )


def _second(instant: str) -> str:
    """An ISO 8601 time in UTC, short enough for a table."""
    return instant[:19].replace("T", " ")


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
