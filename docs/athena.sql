-- The exported ledger in Amazon Athena. Put the stack's output ResultsBucket in place of RESULTS_BUCKET and run the
-- first statement once; days appear by themselves (partition projection). Dollars are exact decimal strings in the
-- files, so they are cast, never read as doubles.

CREATE EXTERNAL TABLE IF NOT EXISTS claude_ledger (
  entry_id string,
  `at` string,
  request_id string,
  upstream_request_id string,
  reservation string,
  job string,
  tenant string,
  tags map<string, string>,
  label string,
  cause string,
  tier string,
  model string,
  asked string,
  purpose string,
  processing string,
  speed string,
  inference_geo string,
  web_search_requests bigint,
  input_tokens bigint,
  cache_read_input_tokens bigint,
  cache_creation_5m_input_tokens bigint,
  cache_creation_1h_input_tokens bigint,
  output_tokens bigint,
  cost_usd string,
  baseline_usd string,
  cache_saved_usd string,
  arm string,
  shadow_label string,
  shadow_tier string,
  shadow_model string,
  shadow_cost_usd string,
  flags array<string>
)
PARTITIONED BY (day string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION 's3://RESULTS_BUCKET/ledger/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW',
  'storage.location.template' = 's3://RESULTS_BUCKET/ledger/day=${day}/'
);

-- What each customer cost last month, and what routing saved on it.
SELECT tags['customer'] AS customer,
       sum(CAST(cost_usd AS decimal(38, 12))) AS cost_usd,
       sum(CAST(baseline_usd AS decimal(38, 12))) - sum(CAST(cost_usd AS decimal(38, 12))) AS saved_usd
FROM claude_ledger
WHERE day BETWEEN '2026-10-01' AND '2026-10-31'
GROUP BY tags['customer']
ORDER BY cost_usd DESC;

-- The dearest requests of a day, classifier and failed calls included.
SELECT request_id, tenant, max(asked) AS asked, count(*) AS calls,
       sum(CAST(cost_usd AS decimal(38, 12))) AS cost_usd
FROM claude_ledger
WHERE day = '2026-11-24'
GROUP BY request_id, tenant
ORDER BY cost_usd DESC
LIMIT 20;

-- Payments nobody can be sure of, by hour: booked at their upper bound.
SELECT substr("at", 1, 13) AS hour, count(*) AS calls, sum(CAST(cost_usd AS decimal(38, 12))) AS cost_usd
FROM claude_ledger
WHERE day = '2026-11-24' AND contains(flags, 'ambiguous')
GROUP BY substr("at", 1, 13)
ORDER BY hour;
