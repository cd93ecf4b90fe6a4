"""The `cost-router` command as a user runs it: a process of its own, without the shell's credentials."""

import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    dropped = ("ANTHROPIC_", "AWS_", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return env | {"PATH": f"{BIN}{os.pathsep}{env['PATH']}", "COLUMNS": "140"} | more


def command(*words: str, cwd: Path, expect: int = 0) -> str:
    done = subprocess.run(
        [str(BIN / "cost-router"), *words], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout
