"""What a batch over HTTPS is said to be, from what is known of its group."""

import datetime as dt
import re

from cost_router.core.groups import Tally
from cost_router.core.message_batches import ID, Counts, MessageBatch, end_of, progress
from cost_router.handlers.hints import NAME
from tests.builders import NOW

LATER = NOW + dt.timedelta(hours=3)
BATCH = MessageBatch("msgbatch_1", "acme", 10, NOW)


def test_an_id_is_a_name_that_a_group_may_have() -> None:
    found = re.fullmatch(ID, "msgbatch_" + "aB3" * 8)
    assert found
    assert NAME.fullmatch(found[0])
    assert not ID.fullmatch("msgbatch_" + "a" * 23)
    assert not ID.fullmatch("msgbatch_" + "a" * 23 + "/")


def test_lines_without_a_result_are_processing_and_all_counts_add_up_to_the_lines() -> None:
    assert progress(BATCH, Tally()) == Counts(10)
    assert progress(BATCH, Tally(started=9, done=3, failed=2, canceled=1)) == Counts(4, 3, 2, 1)


def test_jobs_that_are_not_the_batchs_do_not_make_counts_negative() -> None:
    assert progress(BATCH, Tally(started=12, done=12)) == Counts(0, 12)


def test_a_batch_ends_with_its_last_line_and_when_that_did() -> None:
    assert end_of(BATCH, Tally(started=10, done=8, failed=1, changed_at=LATER), NOW) is None
    whole = Tally(started=10, done=8, failed=1, canceled=1, changed_at=NOW)
    assert end_of(BATCH, whole, LATER) == (NOW, Counts(0, 8, 1, 1))
    assert end_of(BATCH, Tally(started=10, done=10), LATER) == (LATER, Counts(0, 10))


def test_what_a_batch_has_ended_with_counts_for_good() -> None:
    ended = MessageBatch("msgbatch_1", "acme", 10, NOW, ended=(NOW, Counts(0, 10)))
    assert progress(ended, Tally()) == Counts(0, 10)
    assert ended.status == "ended"


def test_a_status_is_one_of_three_and_the_end_comes_last() -> None:
    canceled = MessageBatch("msgbatch_1", "acme", 10, NOW, canceled_at=NOW)
    assert (BATCH.status, canceled.status) == ("in_progress", "canceling")
    assert MessageBatch("m", "acme", 1, NOW, canceled_at=NOW, ended=(NOW, Counts(0, 0, 0, 1))).status == "ended"


def test_a_batch_expires_a_day_after_it_was_created() -> None:
    assert BATCH.expires_at == dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
