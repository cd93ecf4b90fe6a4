"""`cost-router sample && cost-router label`: from requests to the deployed API to a file that `evaluate` reads."""

import datetime as dt
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import pytest

from cost_router.contract import SAMPLES_PREFIX, Env
from infra.local.processes import Children
from infra.local.stack import LocalStack, function_environment, start_uvicorn
from infra.operate.keys import Policy, create
from infra.operate.labelled import read_labelled
from tests.integration.commands import BIN, command, environment
from tests.integration.meter import Meter
from tests.integration.test_streams import ask

Unique = Callable[[str], str]


@pytest.fixture
def sampling(stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of the app as it is deployed with `sample_percent=100`; what it has kept is deleted in the end."""
    told = function_environment(stack.emulator, stack.outputs) | {Env.SAMPLE_PERCENT: "100"}
    monkeypatch.setattr("infra.local.stack.function_environment", lambda *_stack: told)
    children = Children(tmp_path)
    try:
        yield start_uvicorn(children, stack.emulator, stack.outputs)[1]
    finally:
        children.end()
        s3, bucket = stack.target.client("s3"), stack.target.results_bucket
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"{SAMPLES_PREFIX}/").get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])


def test_own_traffic_is_kept_picked_and_labelled(
    stack: LocalStack, sampling: str, folder: Path, meter: Meter, unique: Unique
) -> None:
    key = create(stack.target, "sampled", Policy(), dt.datetime.now(dt.UTC))
    asks = {label: unique(f"[[label:{label}]] Hi") for label in ("simple", "moderate", "complex")}
    with anthropic.Anthropic(base_url=sampling, api_key=key, max_retries=0) as client:
        for _ in range(2):
            client.messages.create(**ask(asks["simple"], system="Be brief."))
        with client.messages.stream(**ask(asks["moderate"])) as stream:
            whole = stream.get_final_message()
            moderate = stream.response.headers["x-router-request-id"]
        client.messages.create(**ask(asks["complex"]))
        client.messages.create(**ask(asks["complex"], model="haiku"))
        client.messages.create(**ask(unique("Hi")), extra_headers={"x-router-sample": "off"})

    told = json.loads(command("sample", "--n", "60", "--by", "tenant", "--json", cwd=folder))
    [own] = [row for row in told["strata"] if row["key"] == "sampled"]
    assert (own["requests"], own["asks"], own["picked"]) == (4, 3, 3), "neither the pinned nor the exempt one"
    lines = [json.loads(line) for line in (folder / "sample.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {line["params"]["messages"][0]["content"]: line for line in lines}
    picked = {label: found[text] for label, text in asks.items()}
    assert {label: line["routed"]["label"] for label, line in picked.items()} == {label: label for label in asks}
    simple = picked["simple"]
    assert (simple["params"]["system"], simple["params"]["model"], simple["label"]) == ("Be brief.", "auto", None)
    assert [round(picked[label]["weight"], 3) for label in asks] == [2.0, 1.0, 1.0]
    day = dt.datetime.now(dt.UTC).date().isoformat()
    stored = stack.target.client("s3").get_object(
        Bucket=stack.target.results_bucket, Key=f"samples/{day}/{moderate}.json"
    )
    answer = json.loads(stored["Body"].read())["answer"]
    assert answer["content"] == [
        {"type": "text", "text": block.text} for block in whole.content if block.type == "text"
    ]
    assert answer["usage"]["output_tokens"] == whole.usage.output_tokens

    (folder / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in picked.values()), encoding="utf-8")
    done = subprocess.run(
        [str(BIN / "cost-router"), "label", "own.jsonl"],
        cwd=folder,
        env=environment(),
        input="smc",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "3 labelled, 3 of 3" in done.stdout
    assert [(item.label.value, float(item.weight)) for item in read_labelled(folder / "labels.jsonl")] == [
        (label, picked[label]["weight"]) for label in asks
    ]


def test_a_deployment_keeps_nothing_unless_it_is_told_to_and_the_command_says_how(
    stack: LocalStack, folder: Path, client: anthropic.Anthropic, meter: Meter, unique: Unique
) -> None:
    client.messages.create(**ask(unique("[[label:simple]] Hi")))
    s3 = stack.target.client("s3")
    kept = s3.list_objects_v2(Bucket=stack.target.results_bucket, Prefix=f"{SAMPLES_PREFIX}/").get("Contents", ())
    assert not [item for item in kept if "req_judged" not in item["Key"]], "what another test has put there apart"
    if not kept:
        printed = command("sample", cwd=folder, expect=1)
        assert "deploy with -c sample_percent=5" in printed
        assert not (folder / "sample.jsonl").exists()
