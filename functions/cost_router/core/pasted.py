"""What a person has pasted into an ask: code, diffs, stack traces, documents, files.

Thresholds and patterns are judgement, not measurement. They err towards prose: data between fences (JSON, CSV, logs) is
no code, and a line is code only when it looks like nothing else.
"""

import re
from collections.abc import Iterator
from typing import Final

READ: Final = 100_000  # characters; what a text is shows in them, and a text of megabytes costs no more than they do
LONGEST_LINE: Final = 300  # characters; the rest of a line tells nothing new
CODE_LINES: Final = 10  # that look like it; fewer are a question about a line or two, of which the excerpt shows enough
SURE_LINES: Final = 3  # of these, without which bare assignments (`a = b`) are settings or notes
CODE_SHARE: Final = 0.5  # of the characters: more of the ask is code than prose
CODE, ASSIGNMENT, PROSE = "code", "assignment", "prose"  # what a line is

_FENCE: Final = re.compile(r"(?:```+|~~~+)\s*(.*)")
_DATA: Final = frozenset(
    {"json", "jsonl", "csv", "tsv", "txt", "text", "log", "logs", "yaml", "yml", "xml", "md", "markdown"}
)
_CODE: Final = re.compile(
    r"""(?x)
    (?!["']) (?: .* \{ $ | (?= .* ; $) .* (?: \w[(\[] | = | -> | :: | \+\+ | \w\.\w )   # blocks, statements; not JSON's
    | (?: async\s+)? def\s \w+ \( | class\s \w+ \s* [:({<] | @\w+ (?: $ | [(.])   # Python, Java, TypeScript
    | from\s [\w.]+ \s import\s | import\s [\w.{*]+ (?: \s as\s \w+)? $ | \#include\b | \#!/ | package\s [\w.]+ $
    | (?: if | elif | for | while | with | except | else | try | finally | case | default)\b [^.!?]* : $
    | (?: export\s+)? (?: const | let | var)\s .* = | function\b .* \( | (?: pub\s+)? fn\s \w+ | func\s [\w(]
    | (?: public | private | protected | static)\s .* [({=]
    | (?: return | yield | raise | throw | await)\s++ (?= .* [^.!?] $) (?: (?: await | new | not | from)\s++ )?
      (?: [\w.]+ ;? $ | [\w.]* [(\[] | [\w.]+ \s (?: [+*/%<>=!|?]+ \s | if\s .* \s else\s )   # no mere words
      | [fbru]? ["'`] | [{<*&!~] | -\w )
    | (?: return | break | continue | pass) ;? $
    | // | /\* | \*/ | [\w.]+ \( .* \) ,? $                                      # comments, calls
    | [\w.\[\]"'>-]+ (?: :\s [\w.\[\]]+)? \s (?: [-+*/|&:]= \s \S | (?: = | <-) \s .* \w[(\[] )   # assignments
    | (?: SELECT | INSERT\sINTO | UPDATE | DELETE\sFROM | CREATE\s(?:TABLE|VIEW|INDEX) | LEFT\sJOIN | GROUP\sBY)\b
    | at\s [^\s(]+ \( .* \) $ | at\s \S+:\d+:\d+ $ | File\s ".+", \s line\s \d+ | Traceback\s \( | Caused\sby:
    | [\w.]+ (?: Error | Exception): \s )                                       # stack traces
    """
)
# As bare as settings are written.
_ASSIGNMENT: Final = re.compile(r"""[\w.\[\]"'>-]+(?::\s[\w.\[\]]+)?\s(?:=|<-)\s\S""")
_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")
_DIFF_HEAD: Final = re.compile(r"diff --git |index [0-9a-f]{6,}|--- \S|\+\+\+ \S")
_TAG: Final = re.compile(r"<(?:document|file)(?=[\s>])")  # as Anthropic's advice on long context has it
_WORD: Final = re.compile(r"[\w./\\-]+")
_FILE: Final = re.compile(r"(?:[\w-]{2,40}\.[A-Za-z]\w{0,7}|[\w-]\.[A-Za-z]\w{1,7})$")  # "e.g" is none


def is_mostly_code(text: str) -> bool:
    """Whether an ask is code, a diff or a stack trace with some words around it."""
    lines = list(_lines(text))
    sure = [length for length, kind in lines if kind == CODE]
    bare = [length for length, kind in lines if kind == ASSIGNMENT and len(sure) >= SURE_LINES]
    return len(sure + bare) >= CODE_LINES and sum(sure + bare) > CODE_SHARE * sum(length for length, _ in lines)


def documents_in(text: str) -> int:
    """How many documents an ask has in its text: between `<document>` or `<file>` tags, or in fences with names."""
    begin = text[:READ]
    return max(len(_TAG.findall(begin)), len(_named_fences(begin)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lengths of the lines that tell something, indentation left out, and what each is."""
    fence, hunk = None, False
    for raw in text[:READ].splitlines():
        line = raw[:LONGEST_LINE]
        bare = line.strip()
        if found := _FENCE.match(bare):
            fence = None if fence is not None else found[1].partition(" ")[0].lower()
            continue
        hunk = bool(_HUNK.match(line)) or (hunk and line[:1] in ("+", "-", " "))
        if not any(map(str.isalnum, bare)):  # brackets, rules, blank lines
            continue
        if fence in _DATA:
            yield len(raw.strip()), PROSE
        elif fence or hunk or _DIFF_HEAD.match(line) or _CODE.match(bare):
            yield len(raw.strip()), CODE
        else:
            yield len(raw.strip()), ASSIGNMENT if _ASSIGNMENT.match(bare) else PROSE


def _named_fences(text: str) -> set[str]:
    """The names of files whose content stands between fences: in the fence's line, or at the end of the one before."""
    names: set[str] = set()
    before, inside = "", False
    for raw in text.splitlines():
        bare = raw[:LONGEST_LINE].strip()
        if found := _FENCE.match(bare):
            inside = not inside
            words = [*_WORD.findall(found[1]), *_WORD.findall(before)[-1:]] if inside else []
            names |= set([word for word in words if _FILE.search(word)][:1])
        elif bare:
            before = bare
    return names
