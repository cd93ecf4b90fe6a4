"""Answers that are too large to be sent, in the results bucket."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ReadTimeoutError

from cost_router.adapters.answers import S3Answers
from cost_router.adapters.aws import Aws
from cost_router.core.errors import StoreError
from tests.builders import run


@dataclass
class Bucket:
    """S3's own client, whose writes go nowhere; it signs without being asked over the network."""

    signer: Any
    down: bool = False
    puts: list[dict[str, Any]] = field(default_factory=list)

    def put_object(self, **arguments: Any) -> None:
        if self.down:
            raise ReadTimeoutError(endpoint_url="https://s3.test")
        self.puts.append(arguments)

    def generate_presigned_url(self, **arguments: Any) -> Any:
        return self.signer.generate_presigned_url(**arguments)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in (("REGION", "us-east-1"), ("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # where botocore would still sign with the old version
    return Bucket(Aws().client("s3"))


def test_an_answer_is_kept_under_its_tenant_and_a_url_gives_it_for_an_hour(bucket: Bucket) -> None:
    answers = S3Answers(Aws({"s3": bucket}), "results-bucket")
    location, url = run(answers.keep("acme", "req_1.sse", b"event: ping\n\n", "text/event-stream"))
    assert location == "s3://results-bucket/answers/acme/req_1.sse"
    assert bucket.puts == [
        {
            "Bucket": "results-bucket",
            "Key": "answers/acme/req_1.sse",
            "Body": b"event: ping\n\n",
            "ContentType": "text/event-stream",
        }
    ]
    parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
    assert parts.path.endswith("/answers/acme/req_1.sse")
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["3600"])


def test_a_bucket_out_of_reach_is_a_store_error(bucket: Bucket) -> None:
    bucket.down = True
    with pytest.raises(StoreError, match=r"^s3\.put_object: ReadTimeoutError$"):
        run(S3Answers(Aws({"s3": bucket}), "results-bucket").keep("acme", "req_1.json", b"{}", "application/json"))
