"""Metrics of the contract that alarms and dashboard watch, but that no code emits yet.

Two tests read this: a name that is emitted has to leave the list, and one that is not has to be on it. It ends empty.
"""

from typing import Final

AWAITED_METRICS: Final = {"SPEND_THIS_MONTH", "BUDGET_STEPS", "LEDGER_DRIFT", "SWEPT", "UNRESERVED"}
