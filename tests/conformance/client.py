"""What the suite knows of a client: how it is started, how it sends its key, and what it cannot do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, repr=False)
class Client:
    """One client.

    command: starts its driver; makes its environment first. errors: the class that it raises, by kind of error;
    statuses: where it tells another status than it got.
    cannot: features that the client itself does not have, with the reason; all others are run.
    """

    id: str  # in the ids of the tests
    title: str  # in the table
    command: Callable[[], list[str]]
    key_header: str  # in which it sends the gateway key
    errors: Mapping[str, str]
    statuses: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ("get_weather", "get_time")  # those that it is to call
    own_tools: bool = False  # they are its own, and what they give is its own business
    own_prompt: bool = False  # it writes system prompt and cache markers itself
    own_words: bool = False  # it words errors itself
    hides_model: bool = False  # shows the model that was asked for in place of the one that answered
