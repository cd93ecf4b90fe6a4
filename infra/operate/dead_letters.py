"""The dead-letter queue: jobs that were set aside, looked at without taking them away, and sent back to the jobs queue.

SQS has no way to look at a message but to receive it, which hides it from others: what is received here is given back.
"""

import contextlib
import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from cost_router.contract import Table
from cost_router.handlers.jobs import job_address
from infra.operate.target import Target

HIDDEN_SECONDS: Final = 60  # that a message stays hidden when this process dies before it has given it back
WAIT_SECONDS: Final = 1  # with any wait SQS asks all of its servers, so that an empty answer means an empty queue
BATCH: Final = 10  # messages in one call, SQS's highest
BARREN: Final = 3  # answers in a row that bring known messages only: the queue has been read to its end
COUNTS: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
NOT_OURS: Final = ("MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue")  # of a message that is gone
NO_JSON: Final = "its body is not JSON, so no job; accepted: the JSON of a job (`cost-router dead-letters show ID`)"
TAKEN: Final = (
    f"somebody else has received or deleted it, or to read the queue took longer than {HIDDEN_SECONDS} seconds"
)
SAME: Final = "this redrive has sent the same body back already: it is there twice, or was set aside again at once"


class QueueProblem(ValueError):
    """A dead letter cannot be found or sent back; the message quotes it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message on the dead-letter queue."""

    id: str  # SQS's
    sent: dt.datetime
    body: str
    attributes: Mapping[str, str]  # SQS's own, such as SenderId
    message_attributes: Mapping[str, str]  # the sender's; bytes as Python writes them

    @property
    def address(self) -> tuple[str, str]:
        """Group and custom_id of the job, as far as they can be read."""
        return job_address(self.body, self.id)

    def row(self) -> dict[str, Any]:
        """What is told of it without its content; `size` in bytes, `reason` None when SQS itself moved it."""
        group, custom_id = self.address
        return {
            "id": self.id,
            "group": group,
            "custom_id": custom_id,
            "sent": self.sent.isoformat(timespec="seconds"),
            "reason": self.message_attributes.get("reason"),
            "size": len(self.body.encode()),
        }


@dataclass(frozen=True, slots=True)
class Redriven:
    """What a redrive did: ids that are on the jobs queue again, and why others stayed, by id."""

    sent_back: list[str] = field(default_factory=list)
    stayed: dict[str, str] = field(default_factory=dict)
    bodies: set[bytes] = field(default_factory=set)  # hashes of what was sent

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"sent_back": self.sent_back, "stayed": [{"id": id_, "why": why} for id_, why in self.stayed.items()]}


@dataclass(frozen=True, slots=True)
class _Reading:
    """The dead-letter queue while it is read: what has been received is hidden from others until it is given back."""

    sqs: Any
    url: str
    held: dict[str, str] = field(default_factory=dict)  # receipt handles by message id
    deleted: set[str] = field(default_factory=set)

    def letters(self) -> Iterator[DeadLetter]:
        """Every message that can be received, once."""
        barren = 0
        while barren < BARREN:
            received = self._receive()
            if not received:
                return
            fresh = [one for one in received if one["MessageId"] not in self.held.keys() | self.deleted]
            self.held.update({one["MessageId"]: one["ReceiptHandle"] for one in received})
            # SQS may forget a deletion: what was sent back must not lie here for the next redrive.
            for id_ in self.deleted & self.held.keys():
                self.delete(id_)
            barren = 0 if fresh else barren + 1
            yield from map(_letter, fresh)

    def hold(self, id_: str) -> bool:
        """Hide the message anew, so that nobody else sends it back, too; False when it is no longer ours."""
        try:
            self.sqs.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=self.held[id_], VisibilityTimeout=HIDDEN_SECONDS
            )
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] not in NOT_OURS:
                raise
            return False
        return True

    def delete(self, id_: str) -> None:
        """Take the message off the queue for good."""
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=self.held[id_])
        del self.held[id_]
        self.deleted.add(id_)

    def close(self) -> None:
        """Give back what is held."""
        handles = list(self.held.values())
        # Whatever fails here, the messages come back by themselves within HIDDEN_SECONDS.
        with contextlib.suppress(BotoCoreError, ClientError):
            for start in range(0, len(handles), BATCH):
                part = enumerate(handles[start : start + BATCH])
                entries = [{"Id": str(id_), "ReceiptHandle": handle, "VisibilityTimeout": 0} for id_, handle in part]
                self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def _receive(self) -> list[dict[str, Any]]:
        reply = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(reply.get("Messages", ()))


def list_letters(target: Target, limit: int) -> dict[str, Any]:
    """At most `limit` of the dead letters, oldest first, as `DeadLetter.row`, and about how many there are in all.

    Gives `total` and `messages`; never a prompt.
    """
    counted = target.client("sqs").get_queue_attributes(QueueUrl=target.dead_letter_queue_url, AttributeNames=COUNTS)
    with _reading(target) as reading:
        found = list(itertools.islice(reading.letters(), limit))
    total = sum(int(counted["Attributes"][name]) for name in COUNTS)
    rows = [letter.row() for letter in sorted(found, key=lambda letter: letter.sent)]
    return {"total": max(total, len(rows)), "messages": rows}


def show_letter(target: Target, id_: str) -> dict[str, Any]:
    """One dead letter with its body, the prompt in it: `DeadLetter.row` and all that SQS tells of it.

    Raises `QueueProblem` when there is none with that id.
    """
    with _reading(target) as reading:
        [letter] = _find(reading, [id_])
    more = {"attributes": dict(letter.attributes), "message_attributes": dict(letter.message_attributes)}
    return letter.row() | more | {"body": letter.body}


def redrive(target: Target, ids: Sequence[str] | None) -> Redriven:
    """Send the dead letters with these ids back to the jobs queue, or all of them (None), each with a clean record.

    Raises `QueueProblem` for an unknown id, before anything is changed, and when AWS refuses something on the way.
    """
    done = Redriven()
    with _reading(target) as reading:
        try:
            letters: Iterable[DeadLetter] = reading.letters() if ids is None else _find(reading, ids)
            for letter in letters:
                _send_back(target, reading, letter, done)
        except (BotoCoreError, ClientError) as error:
            twice = "".join(f" ({id_!r} could not be deleted here)" for id_ in done.sent_back if id_ in reading.held)
            raise QueueProblem(f"{error}; sent back before: {len(done.sent_back)}{twice}; the others stayed") from error
    return done


def _send_back(target: Target, reading: _Reading, letter: DeadLetter, done: Redriven) -> None:
    """Send one job back, and only then delete it: a crash in between leaves it twice, never lost."""
    body = hashlib.sha256(letter.body.encode()).digest()
    # Without the second question, a job that is set aside again at once would be sent back for ever.
    why = NO_JSON if not _is_json(letter.body) else SAME if body in done.bodies else None
    if why or not reading.hold(letter.id):
        done.stayed[letter.id] = why or TAKEN
        return
    _forget_failures(target, letter)
    group, _ = letter.address
    # The group lets SQS share the queue fairly between groups (on a standard queue it orders nothing).
    reading.sqs.send_message(QueueUrl=target.queue_url, MessageBody=letter.body, MessageGroupId=group)
    done.sent_back.append(letter.id)
    done.bodies.add(body)
    reading.delete(letter.id)


def _forget_failures(target: Target, letter: DeadLetter) -> None:
    """Take the count of the job's failures back: with the old one, the next failure would set it aside at once."""
    try:
        target.client("dynamodb").update_item(
            TableName=target.tables["jobs"],
            Key={Table.JOBS_KEY: {"S": "/".join(letter.address)}},
            UpdateExpression="REMOVE attempts, defects",
            ConditionExpression=f"attribute_exists({Table.JOBS_KEY})",  # else the update would make an empty item
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def _reading(target: Target) -> contextlib.closing[_Reading]:
    """The dead-letter queue for the length of a `with` block, after which all can see what was not deleted."""
    return contextlib.closing(_Reading(target.client("sqs"), target.dead_letter_queue_url))


def _find(reading: _Reading, ids: Sequence[str]) -> list[DeadLetter]:
    """The letters with these ids, each once, or `QueueProblem`."""
    found: dict[str, DeadLetter] = {}
    for letter in reading.letters():
        if letter.id in ids:
            found[letter.id] = letter
        if len(found) == len(set(ids)):
            return [found[id_] for id_ in dict.fromkeys(ids)]
    missing = ", ".join(repr(id_) for id_ in dict.fromkeys(ids) if id_ not in found)
    raise QueueProblem(
        f"no dead letter has the id {missing}; accepted: ids that `cost-router dead-letters list` shows (what "
        "somebody else is reading is hidden meanwhile); nothing was changed"
    )


def _letter(message: Mapping[str, Any]) -> DeadLetter:
    attributes, given = message["Attributes"], message.get("MessageAttributes", {})
    texts = {name: str(value.get("StringValue", value.get("BinaryValue"))) for name, value in given.items()}
    sent = dt.datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, dt.UTC)
    return DeadLetter(message["MessageId"], sent, message["Body"], attributes, texts)


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except (RecursionError, ValueError):
        return False
    return True
