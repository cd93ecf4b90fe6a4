"""The jobs queue and its dead-letter queue."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# SQS's highest value. A job that waits for a rate limit is received again after each deferral, which raises its receive
# count though nothing is wrong with it; broken jobs never come back, and real defects have a counter of their own.
MAX_RECEIVES: Final = 1_000
KEPT: Final = Duration.days(14)  # SQS's longest


class Queueing(Construct):
    """Jobs wait on `jobs`; what cannot be handled ends on `dead_letters`."""

    def __init__(self, scope: Construct, id_: str, *, function_timeout: Duration) -> None:
        super().__init__(scope, id_)
        self.dead_letters = self._queue("DeadLetters", visibility=Duration.minutes(5), dead_letters=None)
        self.jobs = self._queue(
            "Jobs",
            visibility=Duration.seconds(6 * function_timeout.to_seconds()),  # AWS's advice for event sources
            dead_letters=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVES),
        )

    def _queue(self, id_: str, *, visibility: Duration, dead_letters: sqs.DeadLetterQueue | None) -> sqs.Queue:
        return sqs.Queue(
            self,
            id_,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=visibility,
            retention_period=KEPT,
            dead_letter_queue=dead_letters,
            removal_policy=RemovalPolicy.DESTROY,
        )
