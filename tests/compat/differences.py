"""
Every known difference from Jupyter, with its reason: the words that marks in `cells/` use.

docs/cells.md has the same table. A row that no cell needs any more fails the suite.
"""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """What happens, in Jupyter and here, and why it is so here."""

    what: str
    jupyter: str
    here: str


REASONS: dict[str, Difference] = {
    "event loop": Difference(
        "`asyncio.run(f())`, `loop.run_until_complete(f())`, `asyncio.Runner()` in a cell",
        "an error, as a loop runs around every cell",
        "work: written for scripts, they are what models write. `loop.is_running()` is False",
    ),
    "await in a command": Difference(
        "`%time await f()`", "a syntax error", "works: what is timed is a cell like any other"
    ),
    "usage": Difference(
        "a notebook command that does not exist, or is written wrongly",
        "a line on stderr, without an error",
        "the cell ends with the error `UsageError`",
    ),
    "rare command": Difference(
        "commands for a person at a screen or for IPython itself: `%alias_magic`, `%load`, `%pdb`, "
        "`%store` and their like",
        "change the notebook or IPython",
        "do nothing where nothing is lost by it, else the error `UsageError`",
    ),
    "commands help": Difference(
        "`%time?`, and `?` alone", "IPython's own manual", "one line, or a syntax error"
    ),
    "screen": Difference(
        "`%matplotlib widget` and other backends with windows",
        "an error where the backend is missing",
        "accepted: figures are pictures whatever the backend",
    ),
    "folder": Difference(
        "`%cd` to a folder that is not there",
        "the error as text on stdout; the cell goes on",
        "the error `FileNotFoundError`",
    ),
    "run": Difference(
        "an error in or about what `%run` or `%%capture` runs",
        "the plain class `Exception` for a missing file; a traceback without the cell",
        "`FileNotFoundError`, `ImportError`; the traceback begins at the cell",
    ),
    "goes on": Difference(
        "`get_ipython().run_cell(code)` or a method such as `_repr_html_` that raises",
        "an error of the cell, which goes on",
        "its traceback on stderr; the cell goes on",
    ),
    "incomplete": Difference(
        "a cell that ends inside brackets or a string",
        "`incomplete input`",
        "what was not closed: `'(' was never closed`",
    ),
    "line at fault": Difference(
        "the line of an error that went through `finally` or `except`",
        "the line that ran last there",
        "the line that raised",
    ),
    "exception group": Difference(
        "an `ExceptionGroup` that nobody caught",
        "its traceback as text on stderr",
        "an error like any other",
    ),
    "deep recursion": Difference(
        "a recursion through several functions",
        "every one of a thousand calls",
        "the first and the last 20 calls",
    ),
    "warned once": Difference(
        "a warning of the compiler (`x is 5`)", "told three times", "told once"
    ),
    "leaving": Difference(
        "`sys.exit()`, `exit()`, `raise SystemExit`",
        "an error and a warning; `exit()` ends the kernel",
        "without a status or with 0 the cell ends in peace; else the error `SystemExit` with the "
        "line. The kernel and its variables stay",
    ),
    "nobody types": Difference(
        "`input()`, `getpass()`, `breakpoint()`, `pdb`",
        "`StdinNotImplementedError`, or waiting",
        "`EOFError` that says what to do instead",
    ),
    "tokenizer": Difference(
        "the file in an error of indentation",
        "`<tokenize>`, without the line in the traceback",
        "the cell and its line",
    ),
    "parser": Difference(
        "errors of parsers that derive from `SyntaxError` (`xml.etree`)",
        "` (<string>)` is added to the message",
        "the message as it is",
    ),
    "arguments": Difference(
        "`sys.argv`",
        "holds Jupyter's own arguments, which `argparse` does not understand",
        "`['']`: `parse_args()` works",
    ),
    "broken pipe": Difference(
        "`!yes | head`", "programs ignore SIGPIPE and complain", "programs end by SIGPIPE"
    ),
    "shown once": Difference(
        "a figure that is a cell's result, and open when it ends",
        "two pictures of it",
        "one picture",
    ),
    "empty figure": Difference(
        "a figure with nothing in it",
        "the text `<Figure size 640x480 with 0 Axes>`",
        "a picture if it is shown on purpose, else nothing",
    ),
    "formula": Difference(
        "formulas after `sympy.init_printing()`",
        "pictures",
        "text, with LaTeX beside it: a picture has nothing that can be read",
    ),
    "agg": Difference(
        '`matplotlib.use("Agg")`',
        "no figure is shown after it",
        "figures are shown all the same",
    ),
}
