"""`cost-router label` as a process: one key per request, from a pipe and at a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.keystrokes import printable
from tests.integration.commands import BIN, environment

COMMAND = str(BIN / "cost-router")
SECONDS = 60.0
EVIL = "Is this \x1b[31mred\x1b[0m?\r\n\x9b2J\u202eevil [bold]x[/bold]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    asks = [EVIL, "Summarise the note", "Prove it"]
    rows = [{"id": f"r{place}", "prompt": ask, "routed": {"label": "complex"}} for place, ask in enumerate(asks)]
    (tmp_path / "sample.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def labels(folder: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    return {row["id"]: row["label"] for row in rows}


def piped(folder: Path, keys: str, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "label", "sample.jsonl", *words]
    done = subprocess.run(
        command, cwd=folder, input=keys, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_keys_from_a_pipe_label_skip_undo_and_explain(folder: Path) -> None:
    printed = piped(folder, "s\n?x u m\nk c").stdout
    assert labels(folder) == {"r0": "moderate", "r2": "complex"}
    assert "simple: one step" in printed
    assert "1 of 3, 0 labelled" in printed
    assert "3 of 3, 1 labelled" in printed
    assert "2 labelled, 2 of 3 in labels.jsonl; the same command goes on" in printed
    assert "took it for" not in printed
    told = json.loads(piped(folder, "s", "--json", "--show-routed").stdout)
    assert told == {"out": "labels.jsonl", "labelled": 1, "skipped": 0, "done": 3, "of": 3}


def test_what_a_prompt_holds_commands_no_terminal_and_hides_nothing(folder: Path) -> None:
    done = piped(folder, "", "--json", "--show-routed")
    assert "Is this \\x1b[31mred\\x1b[0m?\n\\x9b2J\\u202eevil [bold]x[/bold]" in done.stderr
    assert "the router took it for: complex" in done.stderr
    assert not {"\x1b", "\x9b", "\u202e"} & set(done.stderr)
    assert printable("a\tb\r\nc\rd\x7f\ud800 \u2028é漢👩\u200d💻") == ("a\tb\nc\\rd\\x7f\\ud800 \\u2028é漢👩\u200d💻")


def test_the_sample_itself_is_no_file_of_labels(folder: Path) -> None:
    before = (folder / "sample.jsonl").read_bytes()
    assert "is the sample itself" in piped(folder, "s", "--out", "./sample.jsonl", expect=1).stdout
    assert (folder / "sample.jsonl").read_bytes() == before


@dataclass
class Terminal:
    """A pseudo-terminal with the command at its other end."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    seen: str = ""

    def until(self, text: str) -> None:
        """Read until the command has printed `text`, which is forgotten then."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65_536).decode()
        self.seen = self.seen.partition(text)[2]

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())


@pytest.fixture
def terminal(folder: Path) -> Iterator[Callable[[], Terminal]]:
    opened: list[Terminal] = []

    def start() -> Terminal:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [COMMAND, "label", "sample.jsonl"],
            cwd=folder,
            env=environment(TERM="xterm"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        opened.append(Terminal(process, master, slave))
        return opened[-1]

    yield start
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        os.close(one.master)
        os.close(one.slave)


def mode(terminal: Terminal) -> list[object]:
    return termios.tcgetattr(terminal.slave)


def test_at_a_terminal_a_key_needs_no_enter_and_the_terminal_is_as_before(
    folder: Path, terminal: Callable[[], Terminal]
) -> None:
    one = terminal()
    before = mode(one)
    one.until("definitions > ")
    assert mode(one) != before
    one.press("\x1bOs")  # a key of the number pad
    one.until("definitions > ")
    one.press("mss")  # two more than the ask that is shown
    one.until("2 of 3, 1 labelled")
    one.until("definitions > ")
    assert labels(folder) == {"r0": "moderate"}, "before the command has ended"
    one.press("q")
    one.until("the same command goes on")
    assert one.process.wait(SECONDS) == 0
    assert mode(one) == before


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_leaves_the_labels_and_the_terminal(
    folder: Path, terminal: Callable[[], Terminal], ending: signal.Signals, code: int
) -> None:
    one = terminal()
    before = mode(one)
    one.until("definitions > ")
    one.press("s")
    one.until("2 of 3")
    one.until("definitions > ")
    one.process.send_signal(ending)
    assert one.process.wait(SECONDS) == code
    assert mode(one) == before
    assert labels(folder) == {"r0": "simple"}
