"""
What a rule makes of a question: code to run, and how to tell its output.

The offline model keeps nothing between turns, so a plan is made anew from the conversation each
time, and the answer is told from what the code printed. For that, the code of every rule prints in
one way: `name: value` or `name = value` per line, indented below a heading line, and
`saved: /mnt/data/…` for each file it makes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

_FACT = re.compile(r"^(?P<indent>\s*)(?P<name>[^\[\]:=][^:=\n]*?)(?:: | = )(?P<value>\S.*)$")
_HEADING = re.compile(r"^(?P<name>\S[^:]*):$")
_SAVED = re.compile(r"^saved: (/mnt/data/.+)$", re.MULTILINE)
_NAMED_FILES = re.compile(
    r"^\[(?:files (?:created|changed):|image shown to the user, saved as) (.+?)"
    r"(?: and \d+ more)?\]$",
    re.MULTILINE,
)
_ERROR = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)
_NOT_RUN = re.compile(r"was not run|was stopped|killed|ran longer than|out of memory")


# What stands beside the code's own output: the transcript's lines, and our code's word on files.
_ADDED = ("saved: ", "[files ", "[image shown to the user", "[no output]")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the tool message shows of an execution."""

    text: str

    @property
    def error(self) -> str | None:
        """The line that names the exception, or the sentence a limit left; None for neither."""
        if "Traceback (most recent call last)" in self.text or _is_short_error(self.text):
            errors = _ERROR.findall(self.text)
            return errors[-1] if errors else self.text.strip().splitlines()[-1]
        if (match := _NOT_RUN.search(self.text)) is not None:
            return next(line for line in self.text.splitlines() if match[0] in line)
        return None

    @property
    def facts(self) -> dict[str, str]:
        """Every `name: value` and `name = value`, whatever heading it stands below."""
        found = (_FACT.match(line) for line in self.text.splitlines())
        return {match["name"].strip(): match["value"].strip() for match in found if match}

    def under(self, heading: str) -> dict[str, str]:
        """Return the facts indented below the line `heading:`, in order."""
        found: dict[str, str] = {}
        is_inside = False
        for line in self.text.splitlines():
            if (head := _HEADING.match(line)) is not None:
                is_inside = head["name"] == heading
            elif is_inside and line.startswith("  ") and ": " in line:
                # A group's name may hold a colon; what stands below a heading does not.
                name, _, value = line.rpartition(": ")
                found[name.strip()] = value.strip()
            else:
                is_inside = False
        return found

    @property
    def lines(self) -> list[str]:
        """The printed lines, without what the transcript adds about files."""
        kept = [line for line in self.text.splitlines() if line.strip()]
        return [line for line in kept if not line.startswith(_ADDED)]

    @property
    def files(self) -> list[str]:
        """Paths of the files that were made, each once, the code's own words first."""
        named = [path for group in _NAMED_FILES.findall(self.text) for path in group.split(", ")]
        return list(dict.fromkeys([*_SAVED.findall(self.text), *named]))

    @property
    def links(self) -> str:
        """The made files as links, one per line; those the code named, else all of them."""
        paths = list(dict.fromkeys(_SAVED.findall(self.text))) or self.files
        return "\n".join(f"[{path.rsplit('/', 1)[-1]}](sandbox:{path})" for path in paths)


Explain = Callable[[Shown], str]


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Code for a question, and what to do with its output.

    explain: the answer, from what the code printed.
    otherwise: another approach for when the code raises, or None when there is none.
    """

    code: str
    explain: Explain
    otherwise: Plan | None = None


def render(template: str, **values: object) -> str:
    """
    Return `template` without its common indentation, its marks filled.

    `@name@` becomes the repr of a value, `@@name@@` the text as it is.
    """
    text = textwrap.dedent(template).strip("\n") + "\n"
    for name, value in values.items():
        text = text.replace(f"@@{name}@@", str(value)).replace(f"@{name}@", repr(value))
    return text


def join(*parts: str) -> str:
    """Return parts of an answer or of code as paragraphs, empty ones left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def listing(facts: dict[str, str]) -> str:
    """Return facts as a Markdown list."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def tell_facts(lead: str) -> Explain:
    """Return an explanation: `lead`, then what was printed as a list, then links to the files."""

    def explain(shown: Shown) -> str:
        facts = {k: v for k, v in shown.facts.items() if k != "saved"}
        return join(
            lead if facts or shown.files else "The code showed nothing.",
            listing(facts),
            shown.links,
        )

    return explain


def tell_output(lead: str) -> Explain:
    """Return an explanation: `lead`, then the output as it is, then links to the files."""

    def explain(shown: Shown) -> str:
        lines = "\n".join(shown.lines)
        block = f"```\n{lines}\n```" if lines else ""
        return join(
            lead if block or shown.files else "The code ran and showed nothing.", block, shown.links
        )

    return explain


def _is_short_error(text: str) -> bool:
    lines = text.strip().splitlines()
    return bool(lines) and _ERROR.fullmatch(lines[-1]) is not None and len(lines) < 3
