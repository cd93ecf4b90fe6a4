"""Whether speculative execution pays: time saved and dollars spent on it, estimated from what a deployment measured.

An answer that is used costs nothing more: it would have been paid for anyway. One that is not used costs its input and
what was written of it by the time that the label came. Time is saved by used answers only: without speculation they
begin when the label has come, with it they run beside the classifier, so that the shorter of the two waits is saved.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cost_router.core.errors import quoted
from cost_router.core.pricing import THOUSAND, dollars
from cost_router.core.words import Label

MILLISECONDS: Final = Decimal(1_000)  # of a second
SHOWN: Final = Decimal("0.000001")  # dollars; what is estimated has no more digits than this


@dataclass(frozen=True, slots=True)
class Estimate:
    """What speculation would do to 1,000 requests that ask for it."""

    used: Decimal  # answers that begin sooner
    abandoned: Decimal  # calls that are ended and paid for
    saved_ms: Decimal  # by each answer that is used
    extra_usd: Decimal  # for the abandoned ones
    booked_usd: Decimal  # what the ledger and the budgets hold for them: no usage is told of a call that is ended

    @property
    def saved_seconds(self) -> Decimal:
        """Waiting saved in all."""
        return self.used * self.saved_ms / MILLISECONDS

    @property
    def usd_per_second(self) -> Decimal | None:
        """The price of a second less of waiting, in US dollars; None where no time is saved."""
        return self.extra_usd / self.saved_seconds if self.saved_seconds else None

    def pays(self, worth_usd_per_second: Decimal) -> bool:
        """Whether it costs no more than a second less of waiting is worth to somebody, and saves any."""
        price = self.usd_per_second
        return price is not None and price <= worth_usd_per_second

    def json(self) -> dict[str, Any]:
        """As `--json` prints it; dollars are decimal strings."""
        price = self.usd_per_second
        return {  # numbers of requests and times are no money: JSON's own numbers will do
            "used_per_1000": round(float(self.used), 1),
            "abandoned_per_1000": round(float(self.abandoned), 1),
            "saved_ms_per_used": round(float(self.saved_ms), 1),
            "saved_seconds_per_1000": round(float(self.saved_seconds), 1),
            "extra_usd_per_1000": _shown(self.extra_usd),
            "booked_usd_per_1000": _shown(self.booked_usd),
            "usd_per_second": None if price is None else _shown(price),
        }


def speculation_estimate(  # noqa: PLR0913  all that the estimate rests on; by name
    mix: Mapping[Label, float],
    classifier_ms: float,
    haiku_usd: Decimal,
    *,
    begin_ms: float | None = None,
    bound_usd: Decimal | None = None,
    classified: float = 1.0,
    used: Collection[Label] = (Label.SIMPLE,),
) -> Estimate:
    """What speculation would do to 1,000 requests; raises `ValueError` that quotes what is wrong.

    mix: shares, or numbers, of the labels that classified requests got, a failed classifier's `moderate` among them.
    classifier_ms: how long a label takes, p50. haiku_usd: US dollars of a call that is ended when the label comes, on
    average; a whole answer of haiku is its upper bound. begin_ms: how long haiku takes to its first content, p50 (of
    answers that are not streamed: to their end); where it is left out, at least as long as the label. bound_usd: what
    is booked for a call that is ended: input, and all of `max_tokens` as output; `haiku_usd` where it is left out.
    classified: the share of requests for which the classifier is asked at all. used: labels that haiku answers.
    """
    shares = {label: _number(f"mix.{label}", share) for label, share in mix.items()}
    whole = sum(shares.values(), Decimal(0))
    if not whole:
        raise ValueError(f"mix: {quoted(dict(mix))}; accepted: a share above 0 of one label at the least")
    begun = THOUSAND * _number("classified", classified)
    taken = begun * sum((share for label, share in shares.items() if label in used), Decimal(0)) / whole
    waits = [_number("classifier_ms", classifier_ms)]
    waits += [] if begin_ms is None else [_number("begin_ms", begin_ms)]
    return Estimate(
        used=taken,
        abandoned=begun - taken,
        saved_ms=min(waits),
        extra_usd=(begun - taken) * haiku_usd,
        booked_usd=(begun - taken) * (haiku_usd if bound_usd is None else bound_usd),
    )


def _number(name: str, value: float) -> Decimal:
    found = Decimal(str(value))
    if not found.is_finite() or found < 0:
        raise ValueError(f"{name}: {quoted(value)}; accepted: a number of at least 0")
    return found


def _shown(amount: Decimal) -> str:
    return dollars(amount.quantize(SHOWN))
