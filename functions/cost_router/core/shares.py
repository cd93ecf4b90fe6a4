"""How long one tier may take when another could still be asked after it."""

from typing import Final

from cost_router.core.request import Request

SHARE_OF_THE_FIRST: Final = 2 / 3  # of the time left; a call that hangs must leave some to the tier below
WORTH_SHARING: Final = 15.0  # seconds; with less left, the tier that is asked gets it all
READING_SECONDS: Final = 120.0  # before the first token: a prompt of a million tokens takes a minute or two
# Half of the rate that Anthropic's SDK expects of a call that is not streamed (128,000 tokens an hour): a slow day.
SLOWEST_RATE: Final = 128_000 / 3_600 / 2  # output tokens a second


def share(request: Request, left: float) -> float:
    """Seconds that a call may take of those that are `left`, when another tier would get the rest.

    Nothing tells a call that hangs from a long answer until it comes, so a fixed cap would take long answers from the
    tier that was chosen for them and pay twice. But an answer has `max_tokens` at the most, and so an honest call an
    end: of 895 s, one of 1,000 tokens hangs for 176 s before the next tier is asked and not for ten minutes, while one
    of 8,500 tokens or more has two thirds. Web searches take time without tokens: they have two thirds whatever.
    """
    if left < WORTH_SHARING:
        return left
    longest = READING_SECONDS + request.max_tokens / SLOWEST_RATE
    most = left * SHARE_OF_THE_FIRST
    return most if request.ask.terms.web_searches else min(most, longest)
