"""`cost-router doctor`: looks at everything a deployment needs to work, and says what to do about what is missing.

It reads and changes nothing. Models and prices are those of this checkout's data, for the lineup that the deployment
names. The Anthropic key is looked at only to tell it from the placeholder; it is never shown.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import httpx2
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from cost_router.adapters.ledger_items import RESERVATIONS, partition, reservation_in
from cost_router.contract import HEALTH_PATH, SECRET_PLACEHOLDER, Output, Table
from cost_router.core.ledger import ACCOUNT
from cost_router.core.pricing import dollars
from infra.catalogue.findings import FAIL, WARN, deployed_findings
from infra.operate import deployment, routing
from infra.operate.keys import list_keys
from infra.operate.routing import RoutingProblem
from infra.operate.target import Target

OK: Final = "ok"
STYLES: Final = {OK: "green", WARN: "yellow", FAIL: "red"}
STORE_THE_KEY: Final = "aws secretsmanager put-secret-value --secret-id {arn} --secret-string sk-ant-..."
PATIENCE: Final = dt.timedelta(minutes=10)  # for the collector, which comes every minute
SETTLED: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    level: str  # OK, WARN or FAIL
    says: str
    do: str = ""  # what mends it; empty when nothing has to be


@dataclass(frozen=True)
class Patient:
    """A deployment under examination, at the UTC time `now`."""

    target: Target
    now: dt.datetime

    @property
    def stack(self) -> str:
        """The stack's name in CloudFormation, in front of its alarms' names too."""
        return deployment.LOCAL_STACK if self.target.endpoint_url else self.target.name

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """The stack as CloudFormation describes it."""
        found: Mapping[str, Any] = self.target.client("cloudformation").describe_stacks(StackName=self.stack)
        return dict(found["Stacks"][0])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs."""
        return {row["OutputKey"]: row["OutputValue"] for row in self.description.get("Outputs", [])}


def examine(target: Target, now: dt.datetime) -> list[Check]:
    """Every check, in the order in which a newcomer would mend things; what cannot be read fails, by name."""
    patient = Patient(target, now)
    return [check for name, look in CHECKS.items() for check in _looked(name, look, patient)]


def print_checks(console: Console, checks: Iterable[Check]) -> None:
    """A line for each check, and under it what to do."""
    for check in checks:
        line = Text.assemble((f"{check.level:<5}", STYLES[check.level]), f"{check.name:<15}", check.says)
        console.print(line, soft_wrap=True)
        if check.do:
            console.print(Text(f"{'':<20}-> {check.do}"), soft_wrap=True)


def _looked(name: str, look: Callable[[Patient], Iterator[Check]], patient: Patient) -> list[Check]:
    try:
        return list(look(patient))
    except (ClientError, BotoCoreError, httpx2.HTTPError, httpx2.InvalidURL, LookupError, ValueError) as error:
        says = f"cannot be read: {type(error).__name__}: {error}"
        return [Check(name, FAIL, says, "check region, credentials and permissions, then the stack's events")]


def _stack(patient: Patient) -> Iterator[Check]:
    status = patient.description["StackStatus"]
    settled = status in SETTLED
    do = "" if settled else f"wait for it to settle, or look at the stack's events: {patient.stack}"
    yield Check("stack", OK if settled else WARN, f"{patient.stack}: {status}", do)


def _router(patient: Patient) -> Iterator[Check]:
    url = f"{patient.target.base_url.rstrip('/')}{HEALTH_PATH}"
    health = httpx2.get(url, timeout=deployment.PATIENCE).raise_for_status().json()
    says = f"answers at {url}: version {health['version']}, lineup {health['lineup']}"
    yield Check("router", OK, f"{says}; a stand-in plays Claude" if deployment.simulated(patient.target) else says)


def _anthropic_key(patient: Patient) -> Iterator[Check]:
    arn = patient.outputs.get(Output.SECRET_ARN)
    if arn is None:
        yield Check("anthropic key", OK, "none needed: requests are signed with the functions' roles (provider aws)")
        return
    value = patient.target.client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString", "").strip()
    if value in {"", SECRET_PLACEHOLDER}:
        yield Check(
            "anthropic key", FAIL, "not stored yet: the secret holds the placeholder", STORE_THE_KEY.format(arn=arn)
        )
    else:
        yield Check("anthropic key", OK, "stored")


def _gateway_keys(patient: Patient) -> Iterator[Check]:
    keys = list_keys(patient.target, patient.now)
    usable = sum(not key["disabled"] for key in keys)
    if usable:
        yield Check("gateway keys", OK, f"{usable} of {len(keys)} can be used")
    else:
        yield Check("gateway keys", FAIL, f"none of {len(keys)} can be used", "cost-router keys create TENANT")


def _models(patient: Patient) -> Iterator[Check]:
    lineup, notes = deployment.deployed_lineup(patient.target)
    for note in notes:
        yield Check("models", WARN, note)
    findings = deployed_findings(lineup.name, patient.now.date())
    for finding in findings:
        yield Check("models", finding.level, finding.says)
    if not findings:
        yield Check("models", OK, f"lineup {lineup.name}: all priced (realtime, batch), none deprecated, prices recent")


def _queues(patient: Patient) -> Iterator[Check]:
    waiting, in_flight = _depth(patient, patient.target.queue_url)
    yield Check("jobs queue", OK, f"{waiting} waiting, {in_flight} in flight or put back for later")
    dead, hidden = _depth(patient, patient.target.dead_letter_queue_url)
    if dead + hidden:
        do = "see `cost-router dead-letters list`, mend the cause, then `cost-router dead-letters redrive`"
        yield Check("dead letters", WARN, f"{dead + hidden} jobs were set aside", do)
    else:
        yield Check("dead letters", OK, "none")


def _depth(patient: Patient, url: str) -> tuple[int, int]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = patient.target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def _alarms(patient: Patient) -> Iterator[Check]:
    pages = patient.target.client("cloudwatch").get_paginator("describe_alarms")
    alarms = [alarm for page in pages.paginate(AlarmNamePrefix=f"{patient.stack}-") for alarm in page["MetricAlarms"]]
    ringing = sorted(alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM")
    if not alarms:
        yield Check("alarms", FAIL, f"none is called {patient.stack}-...", "deploy again: `make deploy`")
    elif ringing:
        yield Check("alarms", WARN, f"{len(ringing)} of {len(alarms)} ring", f"look at {', '.join(ringing)}")
    else:
        yield Check("alarms", OK, f"{len(alarms)}, none rings")


def _alerts(patient: Patient) -> Iterator[Check]:
    topic = patient.outputs[Output.ALERTS_TOPIC]
    pages = patient.target.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [row["SubscriptionArn"] for page in pages for row in page["Subscriptions"]]
    pending = sum(not arn.startswith("arn:") for arn in arns)  # "PendingConfirmation"
    if not arns:
        yield Check("alerts", WARN, "nobody is told when an alarm rings", "deploy with -c alert_email=you@example.com")
    elif pending:
        do = "follow the link in the e-mail 'AWS Notification - Subscription Confirmation'"
        yield Check("alerts", WARN, f"{pending} of {len(arns)} subscriptions wait to be confirmed", do)
    else:
        yield Check("alerts", OK, f"{len(arns)} subscriptions, all confirmed")


def _budget(patient: Patient) -> Iterator[Check]:
    budget = deployment.daily_budget(patient.target)
    if budget is None:
        says = "none for the account's day: nothing rings and nothing is refused"
        yield Check("daily budget", WARN, says, "deploy with -c daily_budget_usd=50")
    else:
        yield Check("daily budget", OK, f"${dollars(budget)}")


def _ledger(patient: Patient) -> Iterator[Check]:
    day = patient.now.date().isoformat()
    key = {Table.LEDGER_PK: {"S": f"counters#{day}"}, Table.LEDGER_SK: {"S": ACCOUNT}}
    item = (
        patient.target.client("dynamodb").get_item(TableName=patient.target.tables["ledger"], Key=key).get("Item", {})
    )
    spent, calls = (Decimal(item.get(name, {"N": "0"})["N"]) for name in ("cost_usd", "calls"))
    yield Check("ledger", OK, f"reachable; {day} (UTC) so far: {calls} calls, ${dollars(spent)}")


def _reservations(patient: Patient) -> Iterator[Check]:
    """Money put aside by requests that are dead: the collector books it within a minute or two."""
    asked = partition(patient.target.tables["ledger"], RESERVATIONS)
    pages = patient.target.client("dynamodb").get_paginator("query").paginate(**asked)
    held = [reservation_in(item) for page in pages for item in page["Items"]]
    stale = [row for row in held if row.until < patient.now - PATIENCE]
    if stale:
        says = f"{len(stale)} of {len(held)} are past their time and were not swept"
        yield Check("reservations", FAIL, says, "the collector does not run: look at its log and its schedules")
    else:
        yield Check("reservations", OK, f"{len(held)} in flight, none past its time")


def _routing(patient: Patient) -> Iterator[Check]:
    found = routing.stored(patient.target)
    try:
        made = routing.check(patient.target, found.settings)
    except RoutingProblem as error:
        do = "see `cost-router routing show --json`, then `routing set`, or `routing clear`"
        yield Check("routing", FAIL, f"the router cannot use its settings and goes on as before them: {error}", do)
        return
    told = dict(routing.in_words(made))
    yield Check("routing", OK, f"candidate {told['candidate']}" if made.candidate else "settings can be used")


CHECKS: Final[Mapping[str, Callable[[Patient], Iterator[Check]]]] = {
    "stack": _stack,
    "router": _router,
    "anthropic key": _anthropic_key,
    "gateway keys": _gateway_keys,
    "models": _models,
    "routing": _routing,
    "queues": _queues,
    "alarms": _alarms,
    "alerts": _alerts,
    "daily budget": _budget,
    "ledger": _ledger,
    "reservations": _reservations,
}
