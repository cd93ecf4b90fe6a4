"""The bundle holds our package, the runtime dependencies, and nothing else; it works with what was left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.aws import bundle
from infra.aws.app import synth
from infra.aws.config import Config

RUNTIME = ("anthropic", "aws_lambda_powertools", "boto3", "mangum", "starlette", "uvicorn")
NOT_DEPLOYED = ("infra", "genai_prices", "aws_cdk", "ministack", "typer", "rich", "pytest", "bin")
# Only pure-Python packages: the bundle's compiled ones are for arm64 and Python 3.13.
USE_BOTO3 = """
import sys; sys.path.insert(0, sys.argv[1])
import boto3, botocore, importlib.metadata
assert botocore.__file__.startswith(sys.argv[1]), botocore.__file__
for service in ("dynamodb", "s3", "secretsmanager", "sqs", "sts"):
    client = boto3.client(service, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    assert client.meta.service_model.operation_names
s3 = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
assert "results" in s3.generate_presigned_url("get_object", Params={"Bucket": "results", "Key": "k"})
assert importlib.metadata.version("anthropic")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle")
    bundle.build(out)
    return out


def test_the_bundle_holds_the_runtime_dependencies_and_our_package(built: Path) -> None:
    for package in (*RUNTIME, "cost_router"):
        assert (built / package / "__init__.py").is_file()
    assert json.loads((built / "cost_router" / "data" / "catalogue.json").read_text(encoding="utf-8"))["models"]


def test_nothing_of_the_build_is_inside(built: Path) -> None:
    assert not [name for name in NOT_DEPLOYED if (built / name).exists()]
    assert not list(built.rglob("*.pyi"))
    assert not list(built.rglob("RECORD"))


def test_compiled_packages_are_made_for_lambda(built: Path) -> None:
    libraries = [path.name for path in built.rglob("*.so")]
    assert libraries
    assert all("aarch64-linux-gnu" in name and "313" in name for name in libraries)


def test_the_start_script_can_be_executed(built: Path) -> None:
    assert os.access(built / "cost_router" / "start.sh", os.X_OK)


def test_botocores_data_is_pruned_to_the_services_used(built: Path) -> None:
    kept = {path.name for path in (built / "botocore" / "data").iterdir()}
    assert kept == bundle.SERVICES | bundle.BOTOCORE_FILES


def test_aws_clients_work_with_what_is_left(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", USE_BOTO3, str(built)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_bytecode_is_shipped_when_an_interpreter_is_at_hand(built: Path) -> None:
    compiled = built / "cost_router" / "__pycache__" / "contract.cpython-313.pyc"
    assert compiled.is_file() == (bundle._find_python() is not None)
    if compiled.is_file():
        content = compiled.read_bytes()
        assert int.from_bytes(content[4:8], "little") == 0b01  # by hash, unchecked
        assert b"/var/task/cost_router/contract.py" in content


def test_a_missing_interpreter_is_told_and_costs_the_bytecode_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "_find_python", lambda: None)
    (tmp_path / "module.py").write_text("", encoding="utf-8")
    bundle._compile(tmp_path)
    assert "no python3.13 found" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["module.py"]


def test_a_local_asset_is_the_source_with_the_operators_examples(tmp_path: Path) -> None:
    examples = tmp_path / "examples.json"
    examples.write_text('{"simple": ["Is this invoice paid?"]}', encoding="utf-8")
    synth(Config(streaming=False, local=True, domain_examples=str(examples)), tmp_path / "out")
    (asset,) = (tmp_path / "out").glob("asset.*")
    assert [path.name for path in asset.iterdir()] == ["cost_router"]
    told = json.loads((asset / "cost_router" / "data" / "domain_examples.json").read_text(encoding="utf-8"))
    assert told == {"simple": ["Is this invoice paid?"]}
    assert not list(asset.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "accepted: a JSON file"),
        ("[]", r"\[\]; accepted: .*LABEL one of simple, moderate, complex"),
        ('{"easy": ["x"]}', "easy.*accepted"),
        ('{"simple": "x"}', "simple: x; accepted"),
        ('{"simple": [" "]}', "simple:.*accepted"),
    ],
)
def test_bad_examples_are_quoted(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "examples.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(bundle.BundleError, match=says):
        synth(Config(domain_examples=str(file)), tmp_path / "out", bundling=False)


def test_a_failing_uv_is_quoted() -> None:
    with pytest.raises(bundle.BundleError, match=r"uv pip install --nonsense: exit 2\nerror: unexpected argument"):
        bundle._uv("pip", "install", "--nonsense")
