"""Names that the stack and the running code share: environment variables, metrics, table keys, stack outputs.

The stack imports this module and nothing else of the deployed code; tests check that every variable the code reads is
set by the stack and that every alarm watches a metric the code emits. Standard library only.
"""

from typing import Final


class Env:
    """Environment variables of the functions, set by the stack, read once by `handlers/settings.py`."""

    LINEUP: Final = "COST_ROUTER_LINEUP"  # name of a lineup in data/lineups.json
    PROVIDER: Final = "COST_ROUTER_PROVIDER"  # "anthropic" (key in Secrets Manager) or "aws" (signed with the role)
    SECRET_ARN: Final = "COST_ROUTER_SECRET_ARN"  # noqa: S105  its string is the Anthropic key; empty with provider aws
    WORKSPACE_ID: Final = "COST_ROUTER_AWS_WORKSPACE_ID"  # Claude Platform on AWS workspace; provider aws only
    UPSTREAM_URL: Final = "COST_ROUTER_UPSTREAM_URL"  # base URL of the Claude API; empty = the SDK's own
    LABELS_TABLE: Final = "COST_ROUTER_LABELS_TABLE"
    LEDGER_TABLE: Final = "COST_ROUTER_LEDGER_TABLE"
    JOBS_TABLE: Final = "COST_ROUTER_JOBS_TABLE"
    TENANTS_TABLE: Final = "COST_ROUTER_TENANTS_TABLE"
    REQUESTS_TABLE: Final = "COST_ROUTER_REQUESTS_TABLE"
    RESULTS_BUCKET: Final = "COST_ROUTER_RESULTS_BUCKET"
    JOBS_QUEUE_URL: Final = "COST_ROUTER_JOBS_QUEUE_URL"
    DEAD_LETTER_QUEUE_URL: Final = "COST_ROUTER_DEAD_LETTER_QUEUE_URL"
    LABEL_TTL_DAYS: Final = "COST_ROUTER_LABEL_TTL_DAYS"
    DAILY_BUDGET_USD: Final = "COST_ROUTER_DAILY_BUDGET_USD"  # of the account; decimal string; empty = no budget
    MONTHLY_BUDGET_USD: Final = "COST_ROUTER_MONTHLY_BUDGET_USD"  # the same
    SESSION_BUDGET_USD: Final = "COST_ROUTER_SESSION_BUDGET_USD"  # of a session in a UTC day; the same
    SESSION_RPM: Final = "COST_ROUTER_SESSION_RPM"  # requests of a session in a minute; empty = any number
    LADDER: Final = (
        "COST_ROUTER_LADDER"  # percent of a budget from which sonnet, and haiku, is the highest tier: "80,95"
    )
    WITHOUT_STORE: Final = "COST_ROUTER_WITHOUT_STORE"  # "refuse" or "allow" calls that no budget can be asked about
    DEADLINE_SECONDS: Final = "COST_ROUTER_DEADLINE_SECONDS"  # of one HTTPS request, shorter than the gateway's
    STREAM_DEADLINE_SECONDS: Final = "COST_ROUTER_STREAM_DEADLINE_SECONDS"  # the same for an answer that is streamed
    CLASSIFIER_DEADLINE_SECONDS: Final = "COST_ROUTER_CLASSIFIER_DEADLINE_SECONDS"
    MAX_BODY_BYTES: Final = "COST_ROUTER_MAX_BODY_BYTES"
    PUBLIC_URL: Final = "COST_ROUTER_PUBLIC_URL"  # base URL that callers use; empty = as their requests tell it
    BATCH_ROLE_ID: Final = "COST_ROUTER_BATCH_ROLE_ID"  # of the batch function, as SQS tells who sent a message
    JOB_CONCURRENCY: Final = "COST_ROUTER_JOB_CONCURRENCY"  # calls in flight in one batch invocation
    JOB_FUNCTIONS: Final = "COST_ROUTER_JOB_FUNCTIONS"  # batch invocations at a time, which share the account's limits
    HEADROOM_PERCENT: Final = "COST_ROUTER_HEADROOM_PERCENT"  # of the account's limits, left to interactive traffic
    ADMIN_SECRET_ARN: Final = "COST_ROUTER_ADMIN_SECRET_ARN"  # noqa: S105  its string is an Admin API key; empty = none
    BILL_WORKSPACE_ID: Final = "COST_ROUTER_BILL_WORKSPACE_ID"  # whose bill is compared; empty = the organisation's
    BILL_API_KEY_ID: Final = "COST_ROUTER_BILL_API_KEY_ID"  # the same, of one API key
    SAMPLE_PERCENT: Final = "COST_ROUTER_SAMPLE_PERCENT"  # of requests with model `auto`, kept with prompt and answer
    ALERTS_TOPIC: Final = "COST_ROUTER_ALERTS_TOPIC"  # ARN of the topic that alarms ring on
    STAGE: Final = "COST_ROUTER_STAGE"  # environment name, a metric dimension


class Metric:
    """CloudWatch metrics, in `NAMESPACE`, with the dimension `service`; requests and spend are emitted by model too.

    Each name and each model is a metric of its own, billed at about $0.30 a month while it is emitted, so tenants and
    tags are no dimensions, and tiers neither: a tier is one model of the lineup, and callers may pin any other.
    """

    REQUESTS: Final = "Requests"  # Count
    SPEND: Final = "SpendUSD"  # None (dollars), Sum feeds graphs
    SAVED: Final = "SavedUSD"  # baseline - all calls made for the request; may be negative
    CACHE_SAVED: Final = (
        "CacheSavedUSD"  # by the router's own cache markers; may be negative; emitted where there are any
    )
    SPEND_TODAY: Final = "SpendTodayUSD"  # gauge: the account's UTC day so far; alarms read its Maximum
    SPEND_THIS_MONTH: Final = "SpendThisMonthUSD"  # gauge: the account's UTC month so far; alarms read its Maximum
    BUDGET_STEPS: Final = "BudgetSteps"  # Count of 50, 80 and 100 % steps reached by a tenant's or month's budget
    LEDGER_DRIFT: Final = "LedgerDriftUSD"  # gauge: how far a day's ledger is from the bill, unexplained
    SWEPT: Final = "SweptReservations"  # Count of reservations that outlived their lease, booked as ambiguous
    UNRESERVED: Final = "UnreservedCalls"  # Count of calls made while the budget store was down and the mode allowed it
    CLASSIFIER_LATENCY: Final = "ClassifierLatency"  # Milliseconds
    CLASSIFIER_FAILURES: Final = "ClassifierFailures"  # Count; the label was then `moderate` by default
    CLASSIFIER_SKIPPED: Final = "ClassifierSkipped"  # Count of requests that did not wait: it had failed in a row
    ESCALATIONS: Final = "CascadeEscalations"  # Count of first answers in whose place a higher tier's was given
    CACHE_HITS: Final = "LabelCacheHits"  # Count of labels found in a cache
    CACHE_MISSES: Final = "LabelCacheMisses"  # Count
    SPECULATIONS_USED: Final = "SpeculationsUsed"  # Count of answers that had begun before the label was known
    SPECULATIONS_ABANDONED: Final = "SpeculationsAbandoned"  # Count of calls begun so, paid for and not used
    FALLBACKS: Final = "Fallbacks"  # Count of answers served by another tier than the chosen one
    RATE_LIMITS: Final = "RateLimits"  # Count of 429 and 529 answers from Claude
    ERRORS: Final = "Errors"  # Count of requests and jobs answered by an error of 5xx
    LEDGER_FAILURES: Final = "LedgerFailures"  # Count of entries that could not be written (they are in the log)
    AMBIGUOUS: Final = "AmbiguousPayments"  # Count of calls booked at their upper bound, because no usage came back
    LATENCY: Final = "RequestLatency"  # Milliseconds, upstream included
    QUALITY: Final = "RoutingQuality"  # gauge, 0 to 1: a score from POST /v1/feedback, or a share that was judged
    JOBS_DONE: Final = "JobsDone"  # Count
    JOBS_FAILED: Final = "JobsFailed"  # Count
    JOBS_DEFERRED: Final = "JobsDeferred"  # Count of jobs put back on the queue
    LANE_STOPPED: Final = "LaneStopped"  # Count of times that the account was at fault, and the bulk lane stopped


NAMESPACE: Final = "ClaudeCostRouter"
SERVICE_DIMENSION: Final = "service"  # value: SERVICE_PREFIX + stage
SERVICE_PREFIX: Final = "cost-router-"
MODEL_DIMENSION: Final = "model"


class Table:
    """Key attributes of the DynamoDB tables; all keys are strings."""

    LABELS_KEY: Final = "key"  # keyed hash of the ask, or what adapters/sessions.py has beside; partition key
    LEDGER_PK: Final = "pk"  # what it has is told in adapters/ledger_items.py
    LEDGER_SK: Final = "sk"
    JOBS_KEY: Final = "job"  # "GROUP/CUSTOM_ID", or what adapters/job_items.py has beside; partition key
    JOBS_BATCH: Final = "batch"  # partition key of the index: where a job waits, or which kind of thing is open
    JOBS_SINCE: Final = "since"  # its sort key
    JOBS_INDEX: Final = "by_batch"
    TENANTS_KEY: Final = "pk"  # "key#SHA256" or "tenant#NAME"; partition key
    REQUESTS_KEY: Final = "id"  # of a request, ours or Claude's; partition key
    TTL: Final = "expires_at"  # epoch seconds, time-to-live attribute of what is not kept


DEFAULT_TENANT: Final = "default"  # owner of jobs that name no tenant
DEFAULT_TENANT_KEY: Final = "tenant#default"


class Output:
    """CloudFormation outputs of the stack, read by the commands and the local stack."""

    BASE_URL: Final = "BaseUrl"
    QUEUE_URL: Final = "JobsQueueUrl"
    DEAD_LETTER_QUEUE_URL: Final = "DeadLetterQueueUrl"
    RESULTS_BUCKET: Final = "ResultsBucket"
    LABELS_TABLE: Final = "LabelsTable"
    LEDGER_TABLE: Final = "LedgerTable"
    JOBS_TABLE: Final = "JobsTable"
    TENANTS_TABLE: Final = "TenantsTable"
    REQUESTS_TABLE: Final = "RequestsTable"
    ALERTS_TOPIC: Final = "AlertsTopicArn"
    SECRET_ARN: Final = "AnthropicSecretArn"  # noqa: S105  a name
    ADMIN_SECRET_ARN: Final = "AdminSecretArn"  # noqa: S105  a name
    ROUTER_FUNCTION: Final = "RouterFunction"
    BATCH_FUNCTION: Final = "BatchFunction"
    COLLECTOR_FUNCTION: Final = "CollectorFunction"
    DASHBOARD: Final = "DashboardName"
    SAMPLE_PERCENT: Final = "SamplePercent"


class Handler:
    """Entry points inside the bundle, whose root is the import root."""

    ROUTER_BUFFERED: Final = "cost_router.handlers.entry_router.handler"  # Mangum
    ROUTER_STREAMING: Final = "cost_router/start.sh"  # uvicorn, started by the Lambda Web Adapter
    BATCH: Final = "cost_router.handlers.entry_batch.handler"
    COLLECTOR: Final = "cost_router.handlers.entry_collector.handler"


class Task:
    """What the collector is told to do by its schedules, as `{"task": ...}`."""

    MINUTE: Final = "minute"  # sweep, gauges, alerts
    HOUR: Final = "hour"  # export
    DAY: Final = "day"  # reconcile yesterday, or the event's `day`
    BATCHES: Final = "batches"  # pack, submit and collect Message Batches


ANSWERS_PREFIX: Final = "answers"  # of the results bucket: answers/TENANT/REQUEST_ID.json or .sse, too large to send
ACCEPTED_PREFIX: Final = "accepted"  # of the results bucket: accepted/ID.jsonl, the lines of a batch over HTTPS
BATCH_PREFIX: Final = "batches"  # of the results bucket: batches/REQUEST_ID.json, a job that waits
JOBS_PREFIX: Final = "jobs"  # of the results bucket: jobs/GROUP/NAME, params too large for a message
GROUP_EVENT_SOURCE: Final = "claude-cost-router"  # on the account's default event bus
GROUP_EVENT: Final = "Job Group Finished"  # detail-type
SAMPLES_PREFIX: Final = "samples"  # of the results bucket: samples/DAY/REQUEST_ID.json, prompts and answers
FEEDBACK_PARTITION: Final = "feedback"  # of the ledger table: feedback#DAY, by request id
EXPORT_PREFIX: Final = "ledger"  # of the results bucket: ledger/day=YYYY-MM-DD/entries.jsonl.gz
HEALTH_PATH: Final = "/health"
SECRET_PLACEHOLDER: Final = "put-your-anthropic-key-here"  # noqa: S105  what the stack makes the secret with: no key
