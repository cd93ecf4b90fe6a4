"""Requests that a client makes about a chat, for itself and not for a person: titles, tags, topic checks, suggestions.

A request is one of them when its system prompt or its ask begins with a text that a client is known to send, when the
same text refers to the conversation, and when it has no tools (one forced tool is how LangChain asks for structured
output). `max_tokens` tells nothing: Claude Code allows 32,000 for a title. A person's "write a title for my novel"
begins like none of these.

| client | what for | where |
|---|---|---|
| Claude Code | title of a session, four wordings | system prompt; ask |
| Claude Code | whether a message is a new topic | system prompt |
| Claude Code | what the user may type next; a recap for one who returns | ask, at the end of a conversation |
| Open WebUI | title, tags, follow-up questions, completion of what is typed | ask |
| LibreChat (its agents package, on LangChain) | title, two wordings | ask |
| opencode | title | system prompt |
| n8n | title | system prompt |

Left out on purpose, because the rest of the conversation depends on them: summaries that replace a conversation
(Claude Code's "Your task is to create a detailed summary of the conversation so far", LangChain's "Context Extraction
Assistant", LangGraph's "Create a summary of the conversation above"), search queries of Open WebUI, safety checks.

Sources: backend/open_webui/config.py of open-webui/open-webui, src/utils/title.ts of danny-avila/agents,
packages/opencode/src/agent/prompt/title.txt of anomalyco/opencode, packages/cli/src/modules/chat-hub of n8n-io/n8n,
libs/langchain_v1/langchain/agents/middleware/summarization.py of langchain-ai/langchain; for Claude Code, whose source
is not public, requests that proxies have recorded (versions 1 to 2.1.280).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

BLOCKS_READ: Final = 8  # of a system prompt; Claude Code's says what it is for in its second or third
BEGINNING: Final = 300  # characters, white space before an opening included


@dataclass(frozen=True, slots=True)
class Sign:
    """How such a request begins, and what else stands in the same text."""

    opening: str
    mark: str = ""


SYSTEM: Final = (
    Sign("Analyze if this message indicates a new conversation topic.", "isNewTopic"),
    Sign("You are naming a coding session so the user can pick it out of a long list of sessions."),
    Sign("Generate a concise, sentence-case title (3-7 words) that captures the main topic or goal of this"),
    Sign("Summarize this coding conversation in under 50 characters."),
    Sign("You are a title generator. You output ONLY a thread title.", "conversation"),
    Sign("Generate a concise, descriptive title for this conversation based on the user's message."),
)
ASK: Final = (
    Sign(
        "Please write a 5-10 word title for the following conversation", "Respond with the title for the conversation"
    ),
    Sign("### Task:\nGenerate a concise, 3-5 word title", "<chat_history>"),
    Sign("### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history", "<chat_history>"),
    Sign("### Task:\nSuggest 3-5 relevant follow-up questions", "<chat_history>"),
    Sign("### Task:\nYou are an autocompletion system.", "<chat_history>"),
    Sign("Analyze this conversation and provide:", "A concise title in the detected language"),
    Sign("Provide a concise, 5-word-or-less title for the conversation", "Only return the title itself."),
)
# These go on the end of the conversation itself, whose tools and prompt cache they share.
WITH_TOOLS: Final = (
    Sign("[SUGGESTION MODE: Suggest what the user might naturally type next"),
    Sign("The user stepped away and is coming back."),
)


def is_housekeeping(system: Iterable[str], ask: str, tools: int, *, forced: bool) -> bool:
    """Whether a request is about a chat and for nobody.

    system: the texts of the system prompt. ask: the last human ask. forced: `tool_choice` leaves no choice but a tool.
    """
    if _any_in(ask, WITH_TOOLS):
        return True
    if tools > 1 or (tools == 1 and not forced):
        return False
    return _any_in(ask, ASK) or any(_any_in(text, SYSTEM) for text in islice(system, BLOCKS_READ))


def _any_in(text: str, signs: Iterable[Sign]) -> bool:
    """Whether a text has one of the signs; nothing but its beginning is looked at unless that matches."""
    begin = text[:BEGINNING].lstrip()
    return any(begin.startswith(sign.opening) and sign.mark in text for sign in signs)
