"""Which rule answers a question: code the user sent, formulas, values, then the files attached."""

from __future__ import annotations

import re
from dataclasses import replace

from sanderling.models.offline import documents, lists, mathematics, money, pictures
from sanderling.models.offline.conversation import Conversation
from sanderling.models.offline.plan import Plan, tell_output
from sanderling.models.offline.tables import rules as tables
from sanderling.models.offline.tables.reading import TABLE_KINDS
from sanderling.models.offline.tables.table import Table

# What rules read of a question. A longer one is a document, and matching all of it against every
# rule would hold up the server.
QUESTION_CHARS_MAX = 4000
# Run when a question is about a file and none was named: containers may hold files already.
LIST_FILES = """\
import os

names = sorted(os.listdir("/mnt/data"))
print(f"files: {', '.join(names)}" if names else "There are no files.")
"""

_FENCED = re.compile(r"```(?:python|py)?[^\n`]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
_RUN = re.compile(
    r"\b(?:run|execute|evaluate)(?: this| the)?(?: following)?(?: python)?(?: code)?\s*:\s*(.+)",
    re.DOTALL | re.IGNORECASE,
)
_RUN_QUOTED = re.compile(r"\b(?:run|execute|evaluate)\b[^`]*`([^`]+)`", re.IGNORECASE)
_FILE_WORDS = re.compile(
    r"\b(?:file|csv|excel|spreadsheet|table|column|rows?|dataset|data|pdf|image|picture|photo|chart|"
    r"crop|rotate|resize|blur|gr[ae]yscale|contrast|brightness|plot|graph|sales|revenue|upload\w*|attach\w*|document|month)\b|\.\w{3,4}\b",
    re.IGNORECASE,
)
# A question that only says what should be otherwise: `Now as a pie chart`.
_REFERS = re.compile(
    r"^\W*(?:now|again|instead|same|and)\b(?!.*\bby\b)|\b(?:instead|the same)\b", re.IGNORECASE
)
_TARGET = re.compile(
    r"\b(?:as|to|named|called|into|name)\s+(?:the\s+)?(?:file\s+)?[`\"'“]?(?:/mnt/data/)?([\w\-]+\.\w{2,5})\b",
    re.IGNORECASE,
)


def author(conversation: Conversation) -> Plan | None:
    """Return what to do for the latest question; None where no rule fits."""
    if (plan := _own_code(conversation.question)) is not None:
        return plan
    conversation = _shortened(conversation)
    question = conversation.question
    files = _relevant(conversation)
    if files and not _has_formula_to_solve(question):
        plan = _about_files(conversation, files) if _FILE_WORDS.search(question) else None
        if plan is not None:
            return plan
    if (plan := _about_values(question)) is not None:
        return plan
    if files and (plan := _about_files(conversation, files)) is not None:
        return plan
    if conversation.earlier and (plan := mathematics.continuation(question)) is not None:
        return plan
    if files:
        return _looked_at(files[0], question)
    if _FILE_WORDS.search(question) and not _was_listed(conversation):
        return Plan(LIST_FILES, tell_output("Files:"))
    return None


def _shortened(conversation: Conversation) -> Conversation:
    return replace(
        conversation,
        question=conversation.question[:QUESTION_CHARS_MAX],
        earlier=tuple(words[:QUESTION_CHARS_MAX] for words in conversation.earlier),
    )


def _own_code(question: str) -> Plan | None:
    code = "\n".join(_FENCED.findall(question))
    for pattern, text in ((_RUN_QUOTED, question[:QUESTION_CHARS_MAX]), (_RUN, question)):
        if not code and (match := pattern.search(text)) is not None:
            code = match[1].strip()
    if not code.strip():
        return None

    return Plan(code.strip("\n") + "\n", tell_output("I ran your code. It showed:"))


def _about_values(question: str) -> Plan | None:
    rules = (
        mathematics.calculus,
        mathematics.equation,
        lists.json_text,
        money.interest,
        money.return_on_investment,
        lists.temperatures,
        lambda text: lists.values(text, _target(text)),
        mathematics.whole_numbers,
        mathematics.arithmetic,
    )
    return next((plan for rule in rules if (plan := rule(question)) is not None), None)


def _has_formula_to_solve(question: str) -> bool:
    return re.search(r"\bsolve|equation\b", question, re.IGNORECASE) is not None


# ---- files -------------------------------------------------------------------------------------


def _relevant(conversation: Conversation) -> list[str]:
    """Return the files, those the question names first, those it asks to be made left out."""
    target = _target(conversation.question)
    files = [name for name in conversation.files if name != target]
    said = [name for name in files if name.lower() in conversation.question.lower()]
    return list(dict.fromkeys([*said, *files]))


def _was_listed(conversation: Conversation) -> bool:
    return any(attempt.code == LIST_FILES for attempt in conversation.attempts)


def _target(question: str) -> str | None:
    """Return the name of the file the question asks for: `save the chart as chart.png`."""
    match = _TARGET.search(question)
    return match[1] if match else None


def _about_files(conversation: Conversation, files: list[str]) -> Plan | None:
    combined = _with_earlier(conversation)
    questions = [conversation.question, combined]
    if _REFERS.search(conversation.question):
        questions.reverse()
    for question in questions:
        for name in files if question else ():
            if (plan := _about_file(question, name)) is not None:
                return plan
    return None


def _with_earlier(conversation: Conversation) -> str:
    """Return the question with the one before it, where it only refers: `Now as a pie chart`."""
    is_short = len(conversation.question.split()) < 12
    return (
        f"{conversation.question}. {conversation.earlier[0]}"
        if is_short and conversation.earlier
        else ""
    )


def _about_file(question: str, name: str) -> Plan | None:
    kind = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    target = _target(question)
    if kind in pictures.IMAGE_KINDS:
        return pictures.about_picture(question, name, target)
    if kind == "json" and re.search(r"averag|\bmean\b|\bsum\b", question, re.IGNORECASE):
        if re.search(r"\b(?:by|per)\b", question):
            return tables.about_table(question, Table(name, target))
        source = f'json.loads(open({f"/mnt/data/{name}"!r}, encoding="utf-8").read())'
        return lists.json_numbers(source, question)
    if kind in TABLE_KINDS - {"txt"}:
        return tables.about_table(question, Table(name, target))
    return None


def _looked_at(name: str, question: str) -> Plan:
    kind = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if kind in pictures.IMAGE_KINDS:
        return pictures.measured(name)
    if kind in TABLE_KINDS - {"txt"}:
        return tables.described(Table(name, None))
    return documents.about_document(question, name, _target(question))
