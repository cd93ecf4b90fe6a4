"""The bundle of both functions, built by uv without Docker: our package and exactly the runtime dependencies.

`python -m infra.aws.bundle --measure` builds one and prints its size in MB as JSON. The only network use is the package
index that uv is configured with. What is left out is what Lambda never reads; a test imports the rest.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsii
import uv
from aws_cdk import AssetHashType, BundlingOptions, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from infra.catalogue.discounts import read_discounts

ROOT: Final = Path(__file__).parents[2]
FUNCTIONS: Final = ROOT / "functions"
PYTHON: Final = "3.13"
PLATFORM: Final = "aarch64-manylinux2014"
# Services that the functions call, and what botocore itself loads for any of them.
SERVICES: Final = frozenset({"dynamodb", "s3", "secretsmanager", "sns", "sqs", "sts"})
BOTOCORE_FILES: Final = frozenset(
    {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
)
METADATA: Final = frozenset({"METADATA", "entry_points.txt"})  # of a .dist-info: what importlib.metadata answers from
LABELS: Final = ("simple", "moderate", "complex")


class BundleError(Exception):
    """The bundle cannot be built; the message says what is wrong with which input."""


@jsii.implements(ILocalBundling)
class Bundle:
    """Tells CDK how to fill the asset's folder."""

    def __init__(self, *, local: bool, domain_examples: str, discounts: str) -> None:
        self._local = local
        self._domain_examples = domain_examples
        self._discounts = discounts

    def try_bundle(self, output_dir: str, *_options: Any, **_more: Any) -> bool:
        """Fill `output_dir`; jsii adds Docker's options, by place or by name, and they are not used."""
        build(Path(output_dir), local=self._local, domain_examples=self._domain_examples, discounts=self._discounts)
        return True


def code(*, local: bool, domain_examples: str, discounts: str) -> lambda_.Code:
    """The code of both functions. Its hash is that of the result, so a changed dependency is a changed asset."""
    if domain_examples:
        read_examples(Path(domain_examples))  # an error raised later reaches the operator wrapped by jsii
    if discounts:
        read_discounts(Path(discounts))
    return lambda_.Code.from_asset(
        str(FUNCTIONS),
        asset_hash_type=AssetHashType.OUTPUT,
        exclude=["**/__pycache__"],
        bundling=BundlingOptions(
            image=DockerImage.from_registry("docker-is-not-used"),
            local=Bundle(local=local, domain_examples=domain_examples, discounts=discounts),
        ),
    )


def build(out: Path, *, local: bool = False, domain_examples: str = "", discounts: str = "") -> None:
    """Fill the folder; `local` takes the source only. Raises `BundleError` and `BadDiscounts`."""
    shutil.copytree(FUNCTIONS / "cost_router", out / "cost_router", ignore=shutil.ignore_patterns("__pycache__"))
    data = out / "cost_router" / "data"
    if domain_examples:
        text = json.dumps(read_examples(Path(domain_examples)), ensure_ascii=False, indent=1)
        (data / "domain_examples.json").write_text(text, encoding="utf-8")
    if discounts:
        text = json.dumps(read_discounts(Path(discounts)), indent=1)
        (data / "discounts.json").write_text(text, encoding="utf-8")
    if not local:
        _install(out)
        _prune(out)
        _compile(out)


def read_examples(path: Path) -> dict[str, list[str]]:
    """Examples by label from the operator's file; raises `BundleError`."""
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"domain_examples {str(path)!r}: {error}; accepted: a JSON file") from error
    shape = f'{{"LABEL": ["an example", ...]}} with LABEL one of {", ".join(LABELS)}'
    if not isinstance(examples, dict) or not examples or examples.keys() - set(LABELS):
        raise BundleError(f"domain_examples {str(path)!r}: {str(examples)[:80]}; accepted: {shape}")
    for label, texts in examples.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise BundleError(f"domain_examples {str(path)!r}: {label}: {str(texts)[:80]}; accepted: {shape}")
    return examples


def _install(out: Path) -> None:
    """The runtime dependencies as `uv.lock` pins them, as wheels for Lambda, checked by hash."""
    requirements = _uv(
        "export", "--frozen", "--no-default-groups", "--no-emit-project", "--color", "never", "--directory", str(ROOT)
    )
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        pins.write_text(requirements, encoding="utf-8")
        target = ("--target", str(out), "--python-platform", PLATFORM, "--python-version", PYTHON)
        _uv("pip", "install", "--quiet", "--only-binary", ":all:", "--require-hashes", *target, "-r", str(pins))


def _uv(*arguments: str) -> str:
    done = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"uv {' '.join(arguments)}: exit {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def _prune(out: Path) -> None:
    for path in list(_unused(out)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _unused(out: Path) -> Iterator[Path]:
    yield from (path for name in ("bin", ".lock") if (path := out / name).exists())
    yield from out.rglob("__pycache__")
    yield from out.rglob("*.pyi")
    for info in out.glob("*.dist-info"):
        yield from (path for path in info.iterdir() if path.name not in METADATA)
    yield from (path for path in out.glob("*/tests") if path.is_dir())
    kept = SERVICES | BOTOCORE_FILES
    for data in (out / "botocore" / "data", out / "boto3" / "data"):
        yield from (path for path in data.iterdir() if path.name not in kept)
    yield from (out / "botocore" / "data").rglob("examples-1.json*")
    yield out / "boto3" / "examples"


def _compile(out: Path) -> None:
    """Bytecode for Lambda's read-only folder, where Python cannot keep its own and would compile at every cold start.

    Unchecked by source time, because zip files round times; with the paths of Lambda and a fixed hash seed, so that the
    same input makes the same bundle.
    """
    python = _find_python()
    if python is None:
        print(f"bundle: no python{PYTHON} found; without bytecode cold starts take about 2 s longer", file=sys.stderr)
        return
    options = ["-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(out), "-p", "/var/task"]
    subprocess.run(
        [python, "-m", "compileall", *options, str(out)], env={**os.environ, "PYTHONHASHSEED": "0"}, check=True
    )


def _find_python() -> str | None:
    """An interpreter of Lambda's minor version: on PATH, managed by uv, or installed by pyenv."""
    managed = subprocess.run(
        [uv.find_uv_bin(), "python", "find", "--managed-python", "--no-python-downloads", PYTHON],
        capture_output=True,
        text=True,
        check=False,
    )
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{PYTHON}.*/bin/python{PYTHON}")
    for candidate in (shutil.which(f"python{PYTHON}"), managed.stdout.strip(), *map(str, pyenv)):
        if candidate and _runs(candidate):
            return candidate
    return None


def _runs(python: str) -> bool:
    """Whether it is what its name says: pyenv leaves shims for versions that are switched off."""
    ask = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return done.stdout.strip() == PYTHON


def measure() -> dict[str, float]:
    """Sizes of a fresh bundle in MB (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        build(out)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(out))
        unzipped = sum(path.stat().st_size for path in files)
    return {"unzipped_mb": round(unzipped / 1e6, 1), "zipped_mb": round(packed.tell() / 1e6, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m infra.aws.bundle", description=__doc__)
    parser.add_argument("--measure", action="store_true", required=True, help="print the size of a fresh bundle")
    parser.parse_args()
    print(json.dumps(measure()))
