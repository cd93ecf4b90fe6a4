"""Rules before models: each fires, ends where it says, and is silent when it is switched off."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_router.core import rules
from cost_router.core.ask import Ask, read_ask
from cost_router.core.follow_ups import goes_on
from cost_router.core.words import Label
from tests.bodies import JSON, bodies

SIMPLE, MODERATE, COMPLEX = Label.SIMPLE, Label.MODERATE, Label.COMPLEX
ALL_ON: frozenset[str] = frozenset()
HARD = "Prove that the scheduler never starves a task."
REMINDER = {"type": "text", "text": "<system-reminder>The todo list is empty.</system-reminder>"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
NOTE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "n"}}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def chat(*contents: Any, **fields: Any) -> dict[str, Any]:
    """A body in which a person and Claude speak in turns, the person first."""
    messages = [{"role": ("user", "assistant")[place % 2], "content": each} for place, each in enumerate(contents)]
    return {"messages": messages, **fields}


def called(number: int = 1) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"at": number}}


def answered(result: str, number: int = 1) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": result}


def raised(body: dict[str, Any], label: Label, *off: str, tokens: int = 10) -> tuple[Label, str | None]:
    return rules.raised(read_ask(body), tokens, label, frozenset(off))


def key(ask: Ask) -> tuple[str, str]:
    """What the label cache's key is made of, beside tenant, rubric and model."""
    return ask.text, str(ask.digest)


def test_the_rules_have_these_names_in_this_order() -> None:
    names = "follow-up housekeeping extraction planning huge-context code-heavy multi-document"
    assert " ".join(rules.RULES) == names


def test_the_module_tells_of_each_rule_in_a_row_of_its_table() -> None:
    rows = [line.split("`")[1] for line in (rules.__doc__ or "").splitlines() if line.startswith("| `")]
    assert tuple(rows) == rules.RULES


# follow-up


@pytest.mark.parametrize(
    "said", ["不是" * 29 + "吗", "계속해줘" * 14 + "xx", "接着说" * 19 + "吗", "続けてください" * 8 + "か"]
)
def test_phrases_that_can_be_cut_apart_in_many_ways_are_read_in_one_go(said: str) -> None:
    """By trying all ways, the first of these took about an hour."""
    assert not goes_on(said)
    assert goes_on(said.rstrip("吗xか"))


@pytest.mark.parametrize(
    "said",
    [
        *(
            "yes",
            "No.",
            "OK",
            "continue",
            "Go on!",
            "proceed",
            "Sure, do it.",
            "next",
            "thanks",
            "more",
            "more, please…",
        ),
        *(
            "that\N{RIGHT SINGLE QUOTATION MARK}s fine",
            "sounds good, let's do it",
            "2",
            "b)",
            "Option 3",
            "the second one",
            "yes, option 2",
            "1 and 3",
        ),
        *("ja, bitte weiter", "Mach das", "oui, continue", "d'accord", "¡Sí, adelante!", "si", "va bene", "continua"),
        *("sim, pode continuar", "ja, ga door", "ja tack", "fortsätt", "fortsett", "fortsæt", "tak, kontynuuj"),
        *(
            "evet, devam et",
            "はい、続けてください。",
            "好的。继续",
            "繼續",
            "네, 계속해 주세요",
            "да, продолжай",
            "👍",
            "👍🏽 ok",
        ),
    ],
)
def test_a_short_follow_up_is_labelled_as_the_ask_before_it(said: str) -> None:
    asked, cause = rules.asked(read_ask(chat(HARD, "Shall I?", said)), ALL_ON)
    assert key(asked) == key(read_ask(chat(HARD)))
    assert cause == "rule:follow-up"


@pytest.mark.parametrize(
    "said",
    [
        *("yes, and prove that it terminates", "continue with the tests", "no, use Rust", "why?", "what's 2?", "2+2"),
        *(
            "Ja, aber kürzer",
            "oui, mais en français",
            "继续写测试",
            "はい、テストを書いて",
            "네, 테스트도",
            "$5",
            "😊",
            "1234",
        ),
        *("next.js", "<yes>", "A/B test", "the second one is wrong", "yes " * 16),
    ],
)
def test_a_follow_up_with_an_ask_of_its_own_is_labelled_for_itself(said: str) -> None:
    ask = read_ask(chat(HARD, "Shall I?", said))
    assert rules.asked(ask, ALL_ON) == (ask, None)


@pytest.mark.parametrize(("length", "expected"), [(60, True), (61, False)])
def test_a_follow_up_has_60_characters_at_most(length: int, expected: bool) -> None:  # noqa: FBT001  a column
    assert goes_on(" " + "yes".ljust(length, "!") + "\n") is expected


@pytest.mark.parametrize(
    "body",
    [
        chat("yes"),  # nothing before it
        {"messages": [{"role": "assistant", "content": "Shall I?"}, {"role": "user", "content": "yes"}]},
        {"messages": [{"role": "user", "content": HARD}, {"role": "user", "content": "yes"}]},  # nobody has answered
        chat("yes", "What?", "ok"),  # no substance before it
        chat(HARD, "Which of them?", [text("2"), IMAGE]),  # it shows something new
        chat(HARD, "Which of them?", "2", "Show me.", [IMAGE]),
    ],
)
def test_a_follow_up_needs_an_ask_that_was_answered_and_says_all_there_is(body: dict[str, Any]) -> None:
    ask = read_ask(body)
    assert rules.asked(ask, ALL_ON) == (ask, None)


def test_a_chain_of_follow_ups_goes_back_to_the_last_ask_of_substance() -> None:
    chain = chat("Translate this.", "Done.", HARD, "Shall I?", "yes", "Part 1.", "continue", "Part 2.", "ok, go on")
    assert key(rules.asked(read_ask(chain), ALL_ON)[0]) == key(read_ask(chat("Translate this.", "Done.", HARD)))


@pytest.mark.parametrize(("follow_ups", "found"), [(200, True), (201, False)])
def test_a_chain_is_followed_so_far(follow_ups: int, found: bool) -> None:  # noqa: FBT001  a column
    asked, cause = rules.asked(read_ask(chat(HARD, *["Part.", "continue"] * follow_ups)), ALL_ON)
    assert (asked.text, cause) == ((HARD, "rule:follow-up") if found else ("continue", None))


def test_the_ask_before_has_the_key_that_it_had_whatever_stands_around_it() -> None:
    fields = {"system": [text("You are an agent.")], "tools": [TOOL]}
    first = chat([REMINDER, text(HARD), NOTE], **fields)
    first["messages"].insert(0, {"role": "system", "content": "Be brief."})
    later = [
        *({"role": "assistant", "content": [called()]}, {"role": "user", "content": [answered("x" * 999), REMINDER]}),
        *({"role": "system", "content": "Mind the time."}, {"role": "assistant", "content": "Shall I?"}),
        *({"role": "user", "content": [REMINDER, text("Yes, continue.")]}, {"role": "system", "content": "Now."}),
    ]
    follow_up = read_ask({**first, "messages": [*first["messages"], *later]})
    assert follow_up.text == "Yes, continue."
    assert key(rules.asked(follow_up, ALL_ON)[0]) == key(read_ask(first))


def test_the_steps_after_a_follow_up_are_steps_of_the_ask_before_it() -> None:
    step = chat(HARD, "Shall I?", "yes", [called()], [answered("21 degrees")])
    asked, cause = rules.asked(read_ask(step), ALL_ON)
    assert (key(asked), cause) == (key(read_ask(chat(HARD))), "rule:follow-up")
    assert asked.loop.rounds == 1
    assert raised(step, MODERATE) == (SIMPLE, "rule:extraction")


def test_a_follow_up_is_raised_as_the_ask_before_it_is() -> None:
    assert raised(chat(CODE, "Shall I?", "yes"), SIMPLE) == (MODERATE, "rule:code-heavy")
    assert raised(chat([NOTE, NOTE, text("Compare.")], "Shall I?", "yes"), SIMPLE) == (MODERATE, "rule:multi-document")


def test_switched_off_a_follow_up_is_labelled_for_itself() -> None:
    ask = read_ask(chat(HARD, "Shall I?", "yes"))
    assert rules.asked(ask, frozenset({"follow-up"})) == (ask, None)
    assert raised(chat(CODE, "Shall I?", "yes"), SIMPLE, "follow-up") == (SIMPLE, None)


# housekeeping: the beginnings of what these clients send

NAMING = "You are naming a coding session so the user can pick it out of a long list of sessions. The title is a name."
TOPIC = (
    "Analyze if this message indicates a new conversation topic. If it does, extract a 2-3 word title. Format your "
    "response as a JSON object with two fields: 'isNewTopic' (boolean) and 'title' (string)."
)
CLAUDE_CODE = [text("x-anthropic-billing-header: cc_version=2.1;"), text("You are Claude Code."), text(NAMING)]
HISTORY = "### Chat History:\n<chat_history>\nUSER: Hi\nASSISTANT: Hello\n</chat_history>"
WEB_TITLE = f"### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n{HISTORY}"
LIBRE = (
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n"
    "2. A concise title in the detected language (5 words or less, no punctuation or quotation)\n\nUser: Hi"
)
SUGGEST = "[SUGGESTION MODE: Suggest what the user might naturally type next into Claude Code.]\n\nFIRST: Look."
RECAP = "The user stepped away and is coming back. Recap in under 40 words, 1-2 plain sentences, no markdown."
OLD_TITLE = (
    "Please write a 5-10 word title for the following conversation:\n\nUser: Hi\n\nClaude: Hello\n\n"
    "Respond with the title for the conversation and nothing else."
)


@pytest.mark.parametrize(
    "body",
    [
        chat("<session>\nFix it\n</session>\n\nWrite the title", system=CLAUDE_CODE, max_tokens=32_000, tools=[]),
        chat("Can you explain this repository?", system=[text(TOPIC)]),
        chat(OLD_TITLE, system="Summarize this coding conversation in under 50 characters."),
        chat(OLD_TITLE),
        chat(SUGGEST, tools=[TOOL, TOOL]),
        chat(HARD, "Done.", [REMINDER, text(RECAP)], tools=[TOOL, TOOL]),
        chat(WEB_TITLE),
        chat(f"### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.\n{HISTORY}"),
        chat(f"### Task:\nSuggest 3-5 relevant follow-up questions or prompts.\n{HISTORY}"),
        chat(f"### Task:\nYou are an autocompletion system. Continue the text.\n{HISTORY}"),
        chat(LIBRE),
        chat(LIBRE, tools=[TOOL], tool_choice={"type": "tool", "name": "look"}),  # structured output by a tool
        chat("Provide a concise, 5-word-or-less title for the conversation. Only return the title itself.\n\nUser: Hi"),
        chat(
            "Hi", system="You are a title generator. You output ONLY a thread title.\nTo find this conversation later."
        ),
        chat(
            "Hi", system="\nGenerate a concise, descriptive title for this conversation based on the user's message.\n"
        ),
    ],
)
def test_what_a_client_asks_about_a_chat_is_simple(body: dict[str, Any]) -> None:
    ask = read_ask(body)
    assert rules.fixed(ask, ALL_ON) == (SIMPLE, "rule:housekeeping")
    assert rules.fixed(ask, frozenset({"housekeeping"})) is None


@pytest.mark.parametrize(
    "body",
    [
        chat("Write a title for my novel about a conversation between two ships."),
        chat("Please write a 5-10 word title for the following conversation in my play: A: Hi. B: Hello."),
        chat(f"What does this prompt do?\n\n{WEB_TITLE}"),
        chat("### Task:\nGenerate a concise, 3-5 word title for my talk on chat history."),
        chat("### Task:\nRespond to the user query using the provided context.\n<context>...</context>"),  # Open WebUI
        chat(f"### Task:\nAnalyze the chat history to determine the necessity of search queries.\n{HISTORY}"),
        chat("Your task is to create a detailed summary of the conversation so far, paying close attention to it."),
        chat("<role>\nContext Extraction Assistant\n</role>\n\nExtract the context from the conversation history."),
        chat(HARD, "Done.", "Create a summary of the conversation above:"),
        chat("Hi", system="You are a security monitor for autonomous AI coding agents.", max_tokens=64),
        chat("Name it.", system=f"You write plays. Never say: {NAMING}"),
        chat("Name it.", system=[text("Be brief.")] * 8 + [text(NAMING)]),
        chat("Name it.", system=CLAUDE_CODE, tools=[TOOL, TOOL]),  # an agent at work
        chat("Name it.", system=CLAUDE_CODE, tools=[TOOL]),  # nothing forces it
    ],
)
def test_what_a_person_asks_and_what_replaces_a_conversation_is_no_housekeeping(body: dict[str, Any]) -> None:
    assert rules.fixed(read_ask(body), ALL_ON) is None


def test_housekeeping_is_moved_by_its_size_only() -> None:
    title = chat(f"{WEB_TITLE}\n{CODE}")
    assert raised(title, SIMPLE) == (SIMPLE, None)
    assert raised(title, SIMPLE, tokens=100_001) == (MODERATE, "rule:huge-context")
    assert raised(title, SIMPLE, "housekeeping") == (MODERATE, "rule:code-heavy")


# tool-result turns


@pytest.mark.parametrize(
    ("label", "expected"),
    [(SIMPLE, (SIMPLE, None)), (MODERATE, (SIMPLE, "rule:extraction")), (COMPLEX, (COMPLEX, None))],
)
def test_a_short_answer_of_a_tool_leaves_an_extraction(label: Label, expected: tuple[Label, str | None]) -> None:
    step = chat("What is it?", [called()], [answered("21 degrees")])
    assert raised(step, label) == expected
    assert raised(step, label, "extraction") == (label, None)


@pytest.mark.parametrize(("characters", "expected"), [(2_000, SIMPLE), (2_001, MODERATE)])
def test_an_extraction_ends_where_results_are_long(characters: int, expected: Label) -> None:
    assert raised(chat("What is it?", [called()], [answered("x" * characters)]), MODERATE)[0] is expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [(SIMPLE, (MODERATE, "rule:planning")), (MODERATE, (MODERATE, None)), (COMPLEX, (COMPLEX, None))],
)
def test_an_agent_at_work_plans(label: Label, expected: tuple[Label, str | None]) -> None:
    turns = [turn for number in range(3) for turn in ([called(number)], [answered("a", number)])]
    assert raised(chat("What is it?", *turns), label) == expected
    assert raised(chat("What is it?", *turns), label, "planning") == (label, None)


def test_a_persons_turn_is_no_step() -> None:
    assert raised(chat("What is it?", [called()], [answered("x" * 9_999)], "So?", "Hm.", "And now?"), SIMPLE) == (
        SIMPLE,
        None,
    )


# at least moderate

PYTHON = "\n".join(f"    value_{number} = read(row[{number}])" for number in range(10))
CODE = f"What is wrong here?\n```python\n{PYTHON}\n```"
TRACE = "".join(f'  File "/app/a{number}.py", line {number}, in go\n' for number in range(9)) + "ValueError: no\n"
JAVA = "java.lang.IllegalStateException: no\n" + "".join(f"\tat com.acme.A.go(A.java:{row})\n" for row in range(9))
DIFF = "@@ -1,10 +1,10 @@\n" + "".join(f"-the old line {row}\n+the new line {row}\n" for row in range(5))
RETURNS = """return x
return -1
return read(row) or None
return a == b
return x if y else z
return not self.done
raise ValueError("no such row") from error
yield from rows
throw new Error(text);
await pool.close()
return f"{a}"
return [1, 2]"""
CONSTANTS = "\n".join(f"LIMIT_{number} = {number}" for number in range(12))
RECORDS = "\n".join(f'  "name-{number}": "value {number}",' for number in range(40))
VERSE = "\n".join(("The woods are lovely, dark and deep;", "But I have promises to keep,") * 20)
CONTRACT = "\n".join(
    ("The Supplier shall deliver (see section 3);", "If not:", "the Buyer shall return the goods.") * 20
)


@pytest.mark.parametrize(("tokens", "fires"), [(100_000, False), (100_001, True)])
def test_a_huge_context_gets_at_least_moderate(tokens: int, fires: bool) -> None:  # noqa: FBT001  a column
    expected = (MODERATE, "rule:huge-context") if fires else (SIMPLE, None)
    assert raised(chat("What is it?"), SIMPLE, tokens=tokens) == expected
    assert raised(chat("What is it?"), SIMPLE, "huge-context", tokens=tokens) == (SIMPLE, None)
    assert raised(chat("What is it?"), COMPLEX, tokens=tokens) == (COMPLEX, None)


@pytest.mark.parametrize(
    ("ask", "fires"),
    [
        (CODE, True),
        (PYTHON, True),  # without a fence
        ("\n".join(PYTHON.splitlines()[:9]), False),
        (f"{CODE}\n{'More of the story. ' * 10}", True),  # 220 characters of code, 208 of prose
        (f"{CODE}\n{'More of the story. ' * 11}", False),
        (f"Why?\n{TRACE}", True),
        (f"Why?\n{JAVA}", True),
        (f"Review it.\n{DIFF}", True),
        ("\n".join(f"- a point {row}" for row in range(40)), False),  # a list is no diff
        (f"Which has value 3?\n{{\n{RECORDS}\n}}", False),
        (f"Which has value 3?\n```json\n{{\n{RECORDS}\n}}\n```", False),
        ("Which failed?\n" + "12:00:01 INFO router started request id=7 in 3ms\n" * 40, False),
        (VERSE, False),
        (CONTRACT, False),
        (RETURNS, True),
        ("return the book number 3 to the library\n" * 12, False),
        ("return it if you can\n" * 12, False),
        (CONSTANTS, False),  # or settings
        (f"{CONSTANTS}\n{PYTHON[:120]}", True),  # beside other code
        ("\n".join(f"KEY_{number} = value {number}" for number in range(12)), False),
        ("\n".join(f"total_{number}: x = {number} apples" for number in range(12)), False),
        ("-" * 100_000 + "\n" + PYTHON, False),  # further down nobody looks
    ],
)
def test_an_ask_that_is_mostly_code_gets_at_least_moderate(ask: str, fires: bool) -> None:  # noqa: FBT001  a column
    assert raised(chat(ask), SIMPLE) == ((MODERATE, "rule:code-heavy") if fires else (SIMPLE, None))
    assert raised(chat(ask), SIMPLE, "code-heavy") == (SIMPLE, None)
    assert raised(chat(ask), COMPLEX) == (COMPLEX, None)


@pytest.mark.parametrize(
    ("content", "fires"),
    [
        ([text("Compare."), NOTE, NOTE], True),
        ([text("Read."), NOTE], False),
        ([text("Compare."), IMAGE, IMAGE], False),
        ('<documents><document index="1">a</document><document index="2">b</document></documents> Compare.', True),
        ('<documents><document index="1">a</document></documents> Read.', False),
        ('<file path="a.md">a</file>\n<file path="b.md">b</file>', True),
        ("`notes/a.md`:\n```\na\n```\n\n**b.md**\n```\nb\n```", True),
        ("```yaml title=a.yaml\na: 1\n```\n```yaml title=b.yaml\na: 2\n```", True),
        ("a.md:\n```\na\n```\nAgain a.md:\n```\nb\n```", False),  # one file twice
        ("First, e.g.:\n```\na\n```\nor, i.e.:\n```\nb\n```", False),
        ("```\na.md\n```\n```\nb.md\n```", False),  # names in fences name no fence
    ],
)
def test_two_documents_get_at_least_moderate(content: object, fires: bool) -> None:  # noqa: FBT001  a column
    assert raised(chat(content), SIMPLE) == ((MODERATE, "rule:multi-document") if fires else (SIMPLE, None))
    assert raised(chat(content), SIMPLE, "multi-document") == (SIMPLE, None)
    assert raised(chat(content), COMPLEX) == (COMPLEX, None)


def test_documents_of_earlier_turns_are_in_sight_of_an_ask() -> None:
    assert raised(chat([text("Read."), NOTE, NOTE], "Done.", "How old is he?"), SIMPLE)[0] is MODERATE
    later = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [NOTE, NOTE]}]
    assert raised(chat("Search.", [called()], later), SIMPLE, "planning") == (SIMPLE, None)  # not in sight when asked


def test_a_step_is_not_lowered_where_its_ask_is_raised() -> None:
    step = chat(CODE, [called()], [answered("21 degrees")])
    assert raised(step, MODERATE) == (MODERATE, "rule:code-heavy")
    assert raised(step, MODERATE, "code-heavy") == (SIMPLE, "rule:extraction")


# odd bodies

MEMBERS = st.sampled_from(["type", "text", "content", "source", "role", "tool_use_id", "is_error", "name"])
WORDS = st.sampled_from(
    ["text", "tool_result", "image", "document", "user", "assistant", "system", "yes", "\ud800", ""]
)
ODD = st.recursive(
    JSON | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12
)
ODD_BODIES = st.fixed_dictionaries(
    {"messages": st.lists(st.fixed_dictionaries({"role": ODD, "content": ODD}), min_size=1, max_size=5)},
    optional={"system": ODD, "tool_choice": ODD, "tools": st.lists(st.fixed_dictionaries({"name": ODD}), max_size=2)},
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    bodies("auto") | ODD_BODIES, st.sampled_from(Label), st.sets(st.sampled_from(rules.RULES)), st.integers(0, 10**7)
)
def test_no_body_is_too_odd_for_the_rules(body: dict[str, Any], label: Label, off: set[str], tokens: int) -> None:
    ask = read_ask(body)
    asked, _ = rules.asked(ask, frozenset(off))
    assert asked.earlier is None or "follow-up" in off
    moved, cause = rules.raised(ask, tokens, label, frozenset(off))
    assert (moved is label) or cause
    assert label is not COMPLEX or moved is COMPLEX
    silent = frozenset(rules.RULES)
    assert (rules.asked(ask, silent), rules.fixed(ask, silent)) == ((ask, None), None)
    assert rules.raised(ask, tokens, label, silent) == (label, None)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(bodies("auto"), st.sampled_from(["yes", "continue", "続けて"]), st.integers(1, 3))
def test_follow_ups_never_change_the_key_of_the_ask_before_them(body: dict[str, Any], said: str, times: int) -> None:
    first = read_ask(body)
    more = [{"role": "assistant", "content": "Shall I?"}, {"role": "user", "content": [text(said)]}] * times
    later = read_ask({**body, "messages": [*body["messages"], *more]})
    expected = rules.asked(first, ALL_ON)[0]
    if not goes_on(first.text):
        assert key(rules.asked(later, ALL_ON)[0]) == key(expected)
