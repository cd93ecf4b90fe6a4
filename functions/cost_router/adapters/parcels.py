"""Jobs as SQS takes them: ten messages to a call, large params by way of the bucket."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cost_router.contract import JOBS_PREFIX
from cost_router.core.groups import queue_group
from cost_router.core.wire import encode

MOST_MESSAGES: Final = 10  # in a call, SQS's highest
MOST_BYTES: Final = 1_048_576  # the same, of all their bodies
CLAIM_BYTES: Final = 200_000  # of a message; what is larger goes by way of the bucket
UPLOAD_BYTES: Final = 8_000_000  # of params that go with one call, so that memory holds few of them
# XML, in which SQS once spoke, has no such characters, so SQS takes none; inside JSON they can be written otherwise.
UNSENDABLE: Final = ("\ufffe", "\uffff")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message, and the params that have to be in the bucket before it is sent."""

    text: str = field(repr=False)
    size: int  # bytes
    fair: str  # the message group
    key: str = ""  # of its params in the bucket; empty when the message has them
    params: bytes = field(default=b"", repr=False)

    def entry(self, id_: str) -> dict[str, str]:
        """The message as one of those in a call to SQS; its message group is for fairness, it orders nothing."""
        return {"Id": id_, "MessageBody": self.text, "MessageGroupId": self.fair}


def parcel(tenant: str, message: Mapping[str, Any]) -> Parcel:
    """The message of a tenant's job, which names its group; of a large one without its params, which go to the bucket.

    Raises `InvalidRequest` when it cannot be written as JSON in UTF-8.
    """
    custom_id, group = message["custom_id"], message["router"]["group"]
    text = _text(message)
    size, fair = len(text.encode()), queue_group(tenant, group)
    if size <= CLAIM_BYTES:
        return Parcel(text, size, fair)
    key = f"{JOBS_PREFIX}/{group}/{custom_id}.json"
    text = _text({"custom_id": custom_id, "params_at": key, "router": message["router"]})
    return Parcel(text, len(text.encode()), fair, key, encode(message["params"]))


def loads(parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
    """The parcels of one call after the other: ten at the most, and no more bytes than SQS takes."""
    load: list[Parcel] = []
    size, upload = 0, 0
    for one in parcels:
        full = len(load) == MOST_MESSAGES or size + one.size > MOST_BYTES
        if load and (full or upload + len(one.params) > UPLOAD_BYTES):
            yield load
            load, size, upload = [], 0, 0
        load.append(one)
        size, upload = size + one.size, upload + len(one.params)
    if load:
        yield load


def _text(message: Mapping[str, Any]) -> str:
    text = encode(message).decode()
    for letter in UNSENDABLE:
        if letter in text:
            text = text.replace(letter, f"\\u{ord(letter):x}")
    return text
