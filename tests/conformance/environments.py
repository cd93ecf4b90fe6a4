"""The clients' environments: made on demand from pinned requirement files, kept under `.local/conformance/`.

A folder's name carries a hash of what it was made from, so a changed pin makes a new one. Two test workers may come at
once: a lock lets one of them make it.
"""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = ROOT / "tests" / "conformance" / "clients"
KEPT: Final = ROOT / ".local" / "conformance"
BIN: Final = Path(sys.executable).parent
LONGEST: Final = 600  # seconds that an installation may take


class NoEnvironment(Exception):
    """An environment could not be made; the message has the command and what it said."""


def python_environment(requirements: Path) -> Path:
    """The interpreter of an environment that holds exactly what `requirements` (with hashes) lists."""

    def make(folder: Path) -> None:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        # Bytecode is compiled here, once, because a machine may forbid writing it at run time.
        to = ["--python", str(folder / "bin" / "python"), "--require-hashes", "--compile-bytecode"]
        _run([*uv, "pip", "sync", "--quiet", *to, str(requirements)])

    return _kept(f"{requirements.parent.name}-{requirements.stem}", [requirements], make) / "bin" / "python"


def node_environment(package: Path) -> Path:
    """The folder with the `node_modules` of a `package.json`, installed as its lock file says."""
    files = [package / "package.json", package / "package-lock.json"]

    def make(folder: Path) -> None:
        folder.mkdir()
        for file in files:
            shutil.copy(file, folder)
        _run([str(BIN / "npm"), "ci", "--silent", "--no-audit", "--no-fund"], folder)

    return _kept(package.name, files, make)


def _kept(name: str, files: list[Path], make: Callable[[Path], None]) -> Path:
    content = b"\0".join([sys.version.encode(), *(file.read_bytes() for file in files)])
    folder = KEPT / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    whole = folder / ".made"
    KEPT.mkdir(parents=True, exist_ok=True)
    with _locked(KEPT / f"{name}.lock"):
        if not whole.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
            make(folder)
            whole.touch()
    return folder


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST)
    if done.returncode:
        raise NoEnvironment(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
