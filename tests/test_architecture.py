"""Rules about the code that no linter knows. A rule that nothing checks is already broken."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cost_router.contract import Env, Metric

ROOT = Path(__file__).parents[1]
DEPLOYED = ROOT / "functions" / "cost_router"
LONGEST_MODULE = 250  # lines
LONGEST_FUNCTION = 40
STANDARD = sys.stdlib_module_names
TIME_AND_CHANCE = {"time", "random", "secrets", "uuid"}  # the core takes them as arguments


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno} imports relatively"
            yield node.module or ""


def names(kind: type) -> dict[str, str]:
    return {name: value for name, value in vars(kind).items() if name.isupper() and isinstance(value, str)}


ALL = modules("functions", "infra")
CORE = modules("functions/cost_router/core")


def test_there_is_something_to_check() -> None:
    assert len(ALL) > 40
    assert len(CORE) > 10


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parsed(path)) or path.name == "__init__.py"


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_imports_the_standard_library_and_itself_only(path: Path) -> None:
    foreign = {
        name
        for name in imported(path)
        if name.split(".")[0] not in STANDARD and not name.startswith("cost_router.core")
    }
    assert foreign == set()


@pytest.mark.parametrize("path", CORE, ids=relative)
def test_the_core_has_no_clock_and_no_randomness_of_its_own(path: Path) -> None:
    assert TIME_AND_CHANCE.isdisjoint(name.split(".")[0] for name in imported(path))
    calls = {
        node.func.attr
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert {"utcnow", "today", "urandom", "getenv"}.isdisjoint(calls)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"datetime\.now\(|asyncio\.sleep\(|asyncio\.timeout\(|os\.environ", text)


def test_the_core_reads_no_files_and_no_environment() -> None:
    opened = {
        relative(path)
        for path in CORE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"open", "print", "input", "__import__", "exec", "eval"}
    }
    assert opened == set()


def test_every_environment_variable_of_the_contract_is_read_by_the_settings_and_nowhere_else() -> None:
    text = (DEPLOYED / "handlers" / "settings.py").read_text(encoding="utf-8")
    assert {name for name in names(Env) if f"Env.{name}" not in text} == set()
    readers = {
        path.name for path in modules("functions") if re.search(r"os\.environ|getenv", path.read_text(encoding="utf-8"))
    }
    assert readers == {"entry_router.py", "entry_batch.py", "entry_collector.py"}


def test_every_metric_of_the_contract_is_emitted_and_none_besides() -> None:
    text = (DEPLOYED / "adapters" / "telemetry.py").read_text(encoding="utf-8")
    assert {name for name in names(Metric) if f"Metric.{name}" not in text} == set()
    assert set(re.findall(r"\bMetric\.([A-Z_]+)", text)) <= set(names(Metric))


def test_claude_is_called_in_one_place() -> None:
    """Every call that may be billed gets an entry because nothing calls Claude but `core/calls.py`."""
    for method in ("send", "open"):
        call = re.compile(rf"claude\.{method}\(")
        callers = {relative(path) for path in modules("functions") if call.search(path.read_text(encoding="utf-8"))}
        assert callers == {"functions/cost_router/core/calls.py"}


def test_what_is_called_without_money_put_aside_is_counting_only() -> None:
    """Counting is free; its call and its path stand in one place each, where nothing else could hide behind them."""
    texts = {relative(path): path.read_text(encoding="utf-8") for path in modules("functions")}
    assert {path for path, text in texts.items() if re.search(r"claude\.count\(", text)} == {
        "functions/cost_router/core/counting.py"
    }
    assert {path for path, text in texts.items() if '"/v1/messages/count_tokens"' in text} == {
        "functions/cost_router/adapters/claude.py",
        "functions/cost_router/handlers/counting.py",  # the router's own path of the same name
    }


def test_only_the_adapters_that_call_claude_have_the_sdk_or_its_client() -> None:
    """Another way to Claude would need one of these names: calls that nothing put money aside for cannot hide."""
    found: dict[str, set[str]] = {}
    for path in modules("functions"):
        uses = {name for name in imported(path) if name.split(".")[0] == "anthropic"}
        names_used = {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
        uses |= names_used & {"ClientMaker", "KeyedClient", "SignedClient", "AsyncAnthropic", "AsyncAnthropicAWS"}
        if uses:
            found[path.name] = uses
    claude = {"claude.py", "claude_replies.py", "claude_stream.py", "batches.py"}
    assert set(found) - claude == {"bill.py", "clients.py", "wiring.py"}, "the bill costs nothing, wiring calls nobody"
    for name in ("bill.py", "clients.py", "wiring.py"):
        (path,) = [module for module in modules("functions") if module.name == name]
        assert not re.search(r"messages\b\s*\.|\.post\(|/v1/messages", path.read_text(encoding="utf-8")), name


def test_money_is_put_aside_before_claude_is_called() -> None:
    functions = {
        node.name: ast.unparse(node)
        for node in ast.walk(parsed(DEPLOYED / "core" / "calls.py"))
        if isinstance(node, ast.AsyncFunctionDef)
    }
    calling = {name: text for name, text in functions.items() if re.search(r"claude\.(send|open)\(", text)}
    assert set(calling) == {"call", "stream"}
    for text in calling.values():
        assert text.index("self._admit(") < re.search(r"claude\.(send|open)\(", text).start()  # type: ignore[union-attr]
    assert "self.put_aside(" in functions["_admit"]


def test_message_batches_are_created_in_one_place() -> None:
    """A batch is created from lines whose money has been put aside, because nothing else creates one."""
    texts = {relative(path): path.read_text(encoding="utf-8") for path in modules("functions")}
    creating = {path for path, text in texts.items() if "batches.create(" in text}
    assert creating == {"functions/cost_router/core/batch_packing.py"}
    posting = {path for path, text in texts.items() if re.search(r'"/v1/messages(/batches)?"', text)}
    assert posting == {
        "functions/cost_router/adapters/batches.py",
        "functions/cost_router/adapters/claude.py",
        "functions/cost_router/handlers/batch_replies.py",  # the router's own paths of the same name
        "functions/cost_router/handlers/messages.py",
    }
    packing = parsed(DEPLOYED / "core" / "batch_packing.py")
    (submit,) = [node for node in ast.walk(packing) if isinstance(node, ast.AsyncFunctionDef) and node.name == "submit"]
    steps = [ast.unparse(node.func) for node in ast.walk(submit) if isinstance(node, ast.Call)]
    assert steps.count("self.batches.create") == 1
    written = ast.unparse(submit)
    assert written.index("self._cover(") < written.index("State.CREATING") < written.index("self.batches.create(")


def test_errors_become_http_in_one_file() -> None:
    raising = {
        relative(path)
        for path in modules("functions")
        if re.search(r"HTTPException|status_code=", path.read_text(encoding="utf-8"))
    }
    assert raising == set()


HEAVY = (
    "aws_cdk",
    "fastapi",
    "genai_prices",
    "infra",
    "mcp",
    "moto",
    "numpy",
    "pandas",
    "pydantic_settings",
    "rich",
    "typer",
)


def test_the_handlers_import_nothing_heavy_beside_the_sdk() -> None:
    """What a cold start pays for: in a process of its own, without site-packages that a test run has loaded."""
    code = (
        "import sys, cost_router.handlers.app, cost_router.handlers.batch;"
        f"print(sorted(name for name in {HEAVY!r} if name in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "functions")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
