"""What the README says of clients is what the suite runs."""

from collections import Counter

from tests.conformance import table
from tests.conformance.combinations import combinations
from tests.conformance.roster import ENTRANCES, EVERYBODY, FEATURES, OTHERS, SDKS


def test_the_readmes_table_is_made_of_what_the_suite_runs() -> None:
    assert table.shown() == table.table(), "python -m tests.conformance.table --write"


def test_every_client_is_run_with_every_feature_that_it_has_at_both_entrances() -> None:
    runs = Counter(
        (client.id, feature.name)
        for clients in (SDKS, OTHERS)
        for client, feature, _ in (param.values for param in combinations(clients))
    )
    expected = {
        (client.id, feature.name): len(ENTRANCES)
        for client in EVERYBODY
        for feature in FEATURES
        if feature.name not in client.cannot
    }
    assert runs == expected


def test_what_a_client_cannot_do_is_a_feature_and_has_a_reason() -> None:
    names = {feature.name for feature in FEATURES}
    assert len(names) == len(FEATURES)
    for client in EVERYBODY:
        assert set(client.cannot) <= names
        assert all(client.cannot.values())
