"""The label of one step of a conversation: that of its last human ask, and what has happened since.

An agent sends the same conversation again and again, longer by one tool call and its result. Each such step is a
request of its own, with a label of its own, but it is not classified: the human ask is, once, and its label is found in
the cache from then on. From it and from what the tools have answered since, `core/rules.py` makes the step's label:

| the last turn | the ask's label | the step's label | cause |
|---|---|---|---|
| a person's | any | the ask's | the ask's |
| tool results, an extraction | simple | simple | the ask's |
| | moderate | simple | `rule:extraction` |
| | complex | complex | the ask's |
| tool results, planning | simple | moderate | `rule:planning` |
| | moderate, complex | the ask's | the ask's |

An extraction is what is left to do when the tools have answered shortly: at most two rounds of calls, 2,000 characters
of results in all, none of them an error, and 20,000 characters around the ask (a long conversation is an agent at work,
whose warm cache a smaller model would not have). Everything else is planning: the model has to find out what to do
next. A complex ask is never lowered, because each of its steps may decide the rest.
"""

from typing import Final

from cost_router.core.ask import Ask

MOST_ROUNDS: Final = 2
MOST_RESULT_CHARACTERS: Final = 2_000
MOST_CHARACTERS: Final = 20_000


def is_extraction(ask: Ask) -> bool:
    """Whether what is left after the tool results is short work on what they say."""
    loop = ask.loop
    return (
        loop.rounds <= MOST_ROUNDS
        and loop.result_characters <= MOST_RESULT_CHARACTERS
        and not loop.failed
        and ask.characters <= MOST_CHARACTERS
    )
