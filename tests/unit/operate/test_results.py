"""The pace of a group, and its results in one file."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cost_router.core.groups import Group, GroupState, Tally
from infra.operate.collect import Collector
from infra.operate.groups import GroupProblem, Standing
from infra.operate.results import Pace, span

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


def standing(done: int, state: GroupState = GroupState.RUNNING) -> Standing:
    return Standing(Group("nightly", "support", state, NOW, NOW, 100), Tally(started=100, done=done))


def test_the_time_left_is_unknown_until_a_job_has_ended_while_watching() -> None:
    pace = Pace()
    assert pace.left(standing(40), 0.0) is None
    assert pace.left(standing(40), 10.0) is None
    assert pace.left(standing(50), 20.0) == 100.0
    assert pace.left(standing(100), 30.0) == 0.0


def test_the_pace_is_that_of_the_last_ten_minutes() -> None:
    pace = Pace()
    pace.left(standing(0), 0.0)
    pace.left(standing(50), 600.0)
    assert pace.left(standing(60), 1_200.0) == 2_400.0
    assert pace.left(standing(60), 1_801.0) is None


def test_a_paused_group_has_no_time_left_that_is_known() -> None:
    pace = Pace()
    pace.left(standing(0), 0.0)
    assert pace.left(standing(50, GroupState.PAUSED), 10.0) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "unknown"),
        (0.0, "about 0 s"),
        (119.0, "about 119 s"),
        (120.0, "about 2 min"),
        (7_199.0, "about 120 min"),
        (7_200.0, "about 2 h"),
        (172_800.0, "about 2 d"),
    ],
)
def test_times_are_said_in_words(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


class Bucket:
    """S3 in memory; a result that is None is listed, but was deleted meanwhile."""

    def __init__(self, **results: Any) -> None:
        self.objects = {f"results/nightly/{name}.json": value for name, value in results.items()}
        self.reads: list[str] = []

    def put(self, name: str, value: Any) -> None:
        self.objects[f"results/nightly/{name}.json"] = value

    def get_paginator(self, operation: str) -> "Bucket":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        keys = (key for key in sorted(self.objects) if key.startswith(asked["Prefix"]))
        found = [{"Key": key, "ETag": self.etag(key)} for key in keys]
        return [{"Contents": found[:2]}, {"Contents": found[2:]}, {}]

    def get_object(self, **asked: str) -> dict[str, Any]:
        key = asked["Key"]
        self.reads.append(key)
        if self.objects[key] is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"ETag": self.etag(key), "Body": io.BytesIO(json.dumps(self.objects[key], indent=1).encode())}

    def etag(self, key: str) -> str:
        return json.dumps(self.objects[key])


def collector(bucket: Bucket, out: Path) -> Collector:
    made = Collector(bucket, "bucket", "nightly", out)
    made.part.write_bytes(b"")
    return made


def once(made: Collector) -> None:
    made.last.set()
    made.run()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_result_is_a_line_and_the_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    bucket = Bucket(**{f"j{number:02}": {"custom_id": f"j{number:02}"} for number in range(95)})
    bucket.objects["results/nightly-2/other.json"] = {"custom_id": "other"}
    made = collector(bucket, out)
    once(made)
    assert not out.exists()
    once(made)
    assert (made.count, made.finish(), len(bucket.reads)) == (95, 95, 95)
    assert [row["custom_id"] for row in lines(out)] == [f"j{number:02}" for number in range(95)]
    assert not made.part.exists()


def test_a_result_that_was_replaced_meanwhile_is_in_the_file_once_as_it_is_now(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    bucket = Bucket(a={"custom_id": "a", "try": 1}, b={"custom_id": "b"}, c={"custom_id": "c"})
    made = collector(bucket, out)
    once(made)
    for attempt in (2, 3):
        bucket.put("a", {"custom_id": "a", "try": attempt})
        once(made)
    assert made.finish() == 3
    assert lines(out) == [{"custom_id": "b"}, {"custom_id": "c"}, {"custom_id": "a", "try": 3}]


def test_a_result_that_was_deleted_meanwhile_is_left_out(tmp_path: Path) -> None:
    made = collector(Bucket(a={"custom_id": "a"}, b=None), tmp_path / "results.jsonl")
    once(made)
    assert made.finish() == 1


def test_whoever_gives_up_keeps_what_came_so_far(tmp_path: Path) -> None:
    made = collector(Bucket(a={"custom_id": "a"}), tmp_path / "results.jsonl")
    once(made)
    made.quit.set()
    made.run()
    assert [row["custom_id"] for row in lines(made.part)] == ["a"]


def test_a_file_that_cannot_be_written_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    class Target:
        results_bucket = "bucket"

        def client(self, service: str) -> Bucket:
            assert service == "s3"
            return Bucket()

    with pytest.raises(GroupProblem, match=r"results.jsonl.part: No such file or directory; accepted: a file"):
        Collector.of(Target(), "nightly", tmp_path / "missing" / "results.jsonl")  # type: ignore[arg-type]  # as much of it as is used
