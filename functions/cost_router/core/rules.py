"""Rules before models: what fixes or moves a request's label without a call, in the order in which they are asked.

Real traffic is not what classifiers are trained on: it is tool results, "yes", titles of chats and pasted files, whose
text says little about how hard the work is. Each rule is a function of the ask, has a name that stands in the cause of
the decision (`rule:follow-up`), and may be switched off by that name.

| rule | when | what it does |
|---|---|---|
| `follow-up` | the last human turn only says to go on (`core/follow_ups.py`) | the ask before it is labelled |
| `housekeeping` | a client asks about a chat, for itself (`core/housekeeping.py`) | simple |
| `extraction` | tools have answered shortly (`core/steps.py`) | moderate becomes simple |
| `planning` | tools have answered, an agent is at work (`core/steps.py`) | simple becomes moderate |
| `huge-context` | more than 100,000 tokens | simple becomes moderate |
| `code-heavy` | 10 lines of code, diff or stack trace, and less prose (`core/pasted.py`) | simple becomes moderate |
| `multi-document` | two documents, as blocks or pasted as text | simple becomes moderate |

The ask before a follow-up is labelled as it was then, so that its label is found in the cache. No rule touches complex.
The last three say "at least": they come after `extraction`, so that a step on what tools found is not lowered where the
ask is raised. Of them, housekeeping is moved by `huge-context` only: the title of a chat about code is no harder than
any other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from cost_router.core.ask import Ask
from cost_router.core.pasted import documents_in, is_mostly_code
from cost_router.core.steps import is_extraction
from cost_router.core.words import Label

FOLLOW_UP: Final = "follow-up"
HOUSEKEEPING: Final = "housekeeping"
HUGE_CONTEXT: Final = "huge-context"
# Tokens. Judgement: above 100,000 the small model loses more of what it reads, and saves less: Haiku 5.5 costs five
# times as much from there on. Estimated tokens, which may be a third off.
HUGE: Final = 100_000
DOCUMENTS: Final = 2  # judgement: to compare is more than to read


def asked(ask: Ask, off: frozenset[str]) -> tuple[Ask, str | None]:
    """The ask to be labelled, and the cause when that is an earlier one.

    It has the text and the digest that it had when it was the last one; what has happened since is the request's own.
    off: names of `RULES` that are not asked.
    """
    if ask.earlier is None or FOLLOW_UP in off:
        return ask, None
    earlier = ask.earlier
    return dataclasses.replace(ask, text=earlier.text, digest=earlier.digest, earlier=None), _cause(FOLLOW_UP)


def fixed(ask: Ask, off: frozenset[str]) -> tuple[Label, str] | None:
    """The label that needs no model, and its cause; None when nothing fixes it."""
    return (Label.SIMPLE, _cause(HOUSEKEEPING)) if ask.housekeeping and HOUSEKEEPING not in off else None


def raised(ask: Ask, tokens: int, label: Label, off: frozenset[str]) -> tuple[Label, str | None]:
    """The label after the rules that move it, and the cause of the last move; None when nothing has moved it.

    ask: the request's own; a follow-up is judged by the ask that it goes on with. tokens: of the prompt, estimated.
    label: of what `asked` gave, or what `fixed` gave.
    """
    subject, _ = asked(ask, off)
    only = {HUGE_CONTEXT} if fixed(ask, off) else _MOVES.keys()
    cause = None
    for name, move in _MOVES.items():
        if name in only and name not in off and (moved := move(subject, tokens, label)) is not label:
            label, cause = moved, _cause(name)
    return label, cause


def _extraction(ask: Ask, _tokens: int, label: Label) -> Label:
    lowers = label is Label.MODERATE and ask.loop.rounds > 0 and is_extraction(ask)
    return Label.SIMPLE if lowers else label


def _planning(ask: Ask, _tokens: int, label: Label) -> Label:
    return _at_least_moderate(label, lambda: ask.loop.rounds > 0 and not is_extraction(ask))


def _huge_context(_ask: Ask, tokens: int, label: Label) -> Label:
    return _at_least_moderate(label, lambda: tokens > HUGE)


def _code_heavy(ask: Ask, _tokens: int, label: Label) -> Label:
    return _at_least_moderate(label, lambda: is_mostly_code(ask.text))


def _multi_document(ask: Ask, _tokens: int, label: Label) -> Label:
    """Documents in sight of the ask count, not only its own: a person who sent two asks about them for a while.

    Pictures do not: two screenshots are two looks, and the classifier is told how many there are.
    """
    return _at_least_moderate(label, lambda: max(ask.digest.documents, documents_in(ask.text)) >= DOCUMENTS)


def _at_least_moderate(label: Label, applies: Callable[[], bool]) -> Label:
    """The label, moderate if it was simple and the rule applies; the rule is not asked about any other."""
    return Label.MODERATE if label is Label.SIMPLE and applies() else label


def _cause(name: str) -> str:
    return f"rule:{name}"


_MOVES: Final[Mapping[str, Callable[[Ask, int, Label], Label]]] = {
    "extraction": _extraction,
    "planning": _planning,
    HUGE_CONTEXT: _huge_context,
    "code-heavy": _code_heavy,
    "multi-document": _multi_document,
}
RULES: Final[tuple[str, ...]] = (FOLLOW_UP, HOUSEKEEPING, *_MOVES)
