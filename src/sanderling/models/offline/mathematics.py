"""Rules for formulas: equations, chains of arithmetic, calculus, whole numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from sanderling.models.offline.language import (
    FUNCTIONS,
    as_written,
    formulas,
    is_arithmetic,
    numbers,
    to_python,
    variables,
)
from sanderling.models.offline.plan import Plan, Shown, join, listing, render, tell_facts

# ---- equations ---------------------------------------------------------------------------------


def equation(question: str) -> Plan | None:
    """Solve one equation, or two with two unknowns: `Solve 3x + 11 = 14`."""
    found = [run for run in formulas(question) if run.count("=") == 1 and variables(run)]
    if not found:
        return None
    runs = [_without_prefix(run) for run in found]
    letters = list(dict.fromkeys(name for run in runs for name in variables(run)))
    wanted = re.search(r"\b(?:solve|solving)\s+for\s+([A-Za-z])\b", question)
    unknowns = [wanted[1]] if wanted and wanted[1] in letters else letters[: max(1, len(runs))]
    sides = [
        tuple(
            to_python(side, exact=True)
            for side in (run[: run.index("=")], run[run.index("=") + 1 :])
        )
        for run in runs
    ]
    if not all(left and right for left, right in sides):
        return None
    written = " and ".join(as_written(run) for run in runs)

    def explain(shown: Shown) -> str:
        solutions = [line for line in shown.lines if " = " in line and ":" not in line]
        if not solutions:
            return f"{written} has no solution that I could find."
        check = "" if shown.facts.get("check") != "True" else "Put back, both sides are equal."
        plural = "The solution is" if len(solutions) == 1 else "The solutions are"
        return join(
            f"I solved {written} for {' and '.join(unknowns)} with Python. {plural}:",
            "\n".join(f"**{line}**" for line in solutions),
            check,
        )

    names = {"names": " ".join(letters), "letters": ", ".join(letters)}
    head = _EQUATION_HEAD + _pairs(sides)
    search = Plan(render(head + _EQUATION_SEARCH, **names), explain)
    code = render(head + _EQUATION_SOLVE, **names, unknowns=unknowns)
    return Plan(code, explain, search if len(letters) == 1 else None)


_EQUATION_HEAD = """\
import sympy
from sympy import Abs as abs
from sympy import Rational, acos, asin, atan, cbrt, cos, exp, factorial, ln, log, pi, sin, sqrt, tan

@@letters@@ = sympy.symbols(@names@)
"""
_EQUATION_SOLVE = """\
unknowns = sympy.symbols(@unknowns@)
solutions = sympy.solve([left - right for left, right in sides], unknowns, dict=True)

for solution in solutions:
    shown = []
    for name, value in solution.items():
        about = f"{float(value):.8g}" if value.is_real else sympy.N(value, 8)
        shown.append(f"{name} = {value}" + ("" if value.is_Integer else f" (about {about})"))
    print(", ".join(shown))

# Put each solution back into the equations.
rests = [(left - right).subs(solution) for solution in solutions for left, right in sides]
print("check:", bool(rests) and all(sympy.simplify(rest) == 0 for rest in rests))
"""
_EQUATION_SEARCH = """\
# There is no closed form, so look for solutions numerically from several starting points.
left, right = sides[0]
found = set()
for start in (-10, -3, -1, 0.1, 1, 3, 10):
    try:
        found.add(round(float(sympy.nsolve(left - right, start)), 10))
    except (ValueError, TypeError, ZeroDivisionError):
        continue
for value in sorted(found):
    print(f"{sympy.symbols(@names@)} = {value:.8g}")
print("check:", bool(found))
"""


def _pairs(sides: list[tuple[str, ...]]) -> str:
    pairs = ", ".join(f"({left}, {right})" for left, right in sides)
    return f"sides = [{pairs}]\n"


def _without_prefix(run: list[str]) -> list[str]:
    """Drop the unknown of `solve for x` where it ran into the equation: `x 2 x + 3 = 7`."""
    return run[1:] if len(run) > 2 and run[0].isalpha() and run[1][0].isdigit() else run


# ---- arithmetic --------------------------------------------------------------------------------

_NUMBER = r"(-?\d+(?:\.\d+)?)"
# What a later sentence does with the result so far: pattern -> (description, source).
_STEPS: list[tuple[str, str, str]] = [
    (r"square root", "square root", "math.sqrt({0})"),
    (r"cube root", "cube root", "math.cbrt({0})"),
    (r"\bcubed?\b", "cube", "{0} ** 3"),
    (r"\bsquared?\b", "square", "{0} ** 2"),
    (rf"\badd {_NUMBER}", "plus {1}", "{0} + {1}"),
    (rf"\bplus {_NUMBER}", "plus {1}", "{0} + {1}"),
    (rf"\b(?:subtract|take away|minus) {_NUMBER}", "minus {1}", "{0} - {1}"),
    (rf"\b(?:multipl(?:y|ied)|times)\D*? {_NUMBER}", "times {1}", "{0} * {1}"),
    (rf"\bdivided?\D*? {_NUMBER}", "divided by {1}", "{0} / {1}"),
    (rf"\b(?:power|raise)\D*? {_NUMBER}", "to the power of {1}", "{0} ** {1}"),
    (r"\bround\w*\D*? (\d+)", "rounded to {1} places", "round({0}, {1})"),
    (r"\bdoubled?\b", "doubled", "{0} * 2"),
    (r"\b(?:halve|half)\b", "halved", "{0} / 2"),
    (r"\bnatural log|\bln\b|\blogarithm", "natural logarithm", "math.log({0})"),
    (r"\babsolute\b", "absolute value", "abs({0})"),
    (r"\bnegate\b", "negated", "-({0})"),
    (r"\bround\b", "rounded", "round({0})"),
]
_SENTENCE = re.compile(
    r"(?:(?:[.;?]|(?<!\d)!)(?=\s|$)|\n|,?\s+(?:and\s+)?then\b|,\s*and\b)", re.IGNORECASE
)


def arithmetic(question: str) -> Plan | None:
    """Compute an expression, then whatever the next sentences do with the result."""
    lines: list[str] = []
    result = ""
    for sentence in (part for part in _SENTENCE.split(question) if part.strip()):
        values = [run for run in formulas(sentence) if is_arithmetic(run)]
        step = _step(sentence) if result else None
        if values and step is None:
            for run in values:
                result = f"step_{len(lines) + 1}"
                lines.append(_line(result, as_written(run), _math(to_python(run))))
        elif step is not None:
            named, source = step
            of, result = result, f"step_{len(lines) + 1}"
            lines.append(_line(result, f"{named} of {of.replace('_', ' ')}", source.format(of)))
    return _chain(lines, result) if lines else None


def continuation(question: str) -> Plan | None:
    """Go on with the result of the last question, which the session still knows as `result`."""
    found = [step for part in _SENTENCE.split(question) if (step := _step(part)) is not None]
    refers = re.search(r"\b(that|it|this|result|again|now)\b", question, re.IGNORECASE)
    if not found or not refers or len(question) > 300:
        return None
    lines = []
    before = "result"
    for number, (named, source) in enumerate(found, 1):
        lines.append(_line(f"step_{number}", _named_step(named, before), source.format(before)))
        before = f"step_{number}"
    return _chain(lines, before)


def _named_step(named: str, of: str) -> str:
    """Return `square root of step 1`, or `step 1 plus 2`."""
    value = of.replace("_", " ")
    is_noun = named.startswith(("square", "cube", "natural", "absolute"))
    return f"{named} of {value}" if is_noun else f"{value} {named}"


def _chain(lines: list[str], result: str) -> Plan:
    code = "import math\n\n" + "\n".join(lines) + f"\nresult = {result}\n"

    def explain(shown: Shown) -> str:
        facts = shown.facts
        if len(facts) == 1:
            ((name, value),) = facts.items()
            return f"{name} = **{value}**"
        steps = "\n".join(f"{n}. {name} = **{v}**" for n, (name, v) in enumerate(facts.items(), 1))
        return join("Computed step by step with Python:", steps)

    return Plan(code, explain)


def _line(target: str, name: str, source: str) -> str:
    shown = (
        f"{{{target}:.12g}}"
        if "factorial" not in source and "**" not in source
        else f"{{{target}}}"
    )
    return f'{target} = {source}\nprint(f"{name} = {shown}")'


def _step(sentence: str) -> tuple[str, str] | None:
    if any(is_arithmetic(run) and len(run) > 2 for run in formulas(sentence)):
        return None
    for pattern, named, source in _STEPS:
        if (match := re.search(pattern, sentence, re.IGNORECASE)) is not None:
            argument = match[1] if match.groups() else ""
            return named.format("", argument), source.replace("{1}", argument)
    return None


def _math(source: str) -> str:
    source = re.sub(r"\bln\(", "log(", source)
    return re.sub(rf"\b({'|'.join(FUNCTIONS - {'abs', 'ln'})})\b", r"math.\1", source)


# ---- calculus and algebra ----------------------------------------------------------------------


def calculus(question: str) -> Plan | None:
    """Integrate, differentiate, expand, factor or simplify a formula."""
    verb = re.search(
        r"\b(integra\w+|deriv\w+|differentiate|expand|factori[sz]e|factor|simplify)\b",
        question,
        re.IGNORECASE,
    )
    if verb is None:
        return None
    rest = re.split(
        r"\b(?:from|between)\b|=", re.sub(r"\bd[a-z]\b|\bf\(x\)", " ; ", question[verb.end() :])
    )
    runs = [run for run in formulas(rest[0]) if variables(run)]
    if not runs:
        return None
    name = variables(runs[0])[0]
    source = to_python(runs[0], exact=True)
    bounds = re.search(r"\b(?:from|between)\s+(\S+)\s+(?:to|and)\s+(\S+)", question)
    body = _calculus_body(verb[1].lower(), name, bounds and (bounds[1], bounds[2].rstrip(".,?!")))
    head = _EQUATION_HEAD + "formula = @@source@@\n"
    code = render(head + body, letters=name, names=name, source=source)
    return Plan(code, tell_facts(f"For {as_written(runs[0])} Python's sympy gives:"))


def _calculus_body(verb: str, name: str, bounds: tuple[str, str] | None) -> str:
    if verb.startswith("integra") and bounds:
        low, high = (bound.replace("^", "**") for bound in bounds)
        return (
            f"exact = sympy.integrate(formula, ({name}, {low}, {high}))\n"
            'print("integral:", exact)\nprint("as a number:", sympy.N(exact, 10))\n\n'
            "# Cross-check with a numerical method.\nfrom scipy.integrate import quad\n\n"
            f"numeric, error = quad(sympy.lambdify({name}, formula), float({low}), float({high}))\n"
            'print(f"by quadrature: {numeric:.10g}")\n'
        )
    if verb.startswith("integra"):
        return f'print("integral:", sympy.integrate(formula, {name}), "+ C")\n'
    if verb.startswith(("deriv", "differ")):
        return f'print("derivative:", sympy.diff(formula, {name}))\n'
    operation = "factor" if verb.startswith("factor") else verb
    return f'print("result:", sympy.{operation}(formula))\n'


# ---- whole numbers -----------------------------------------------------------------------------


def whole_numbers(question: str) -> Plan | None:
    """Primes, factors, divisors, Fibonacci numbers."""
    found = [int(number) for number in numbers(question) if number == int(number)]
    text = question.lower()
    if not found:
        return None
    first = found[0]
    rules: list[tuple[str, Callable[[], str]]] = [
        (
            r"first \d+ primes?|first \d+ prime numbers",
            lambda: f'print("primes:", [sympy.prime(n) for n in range(1, {first} + 1)])',
        ),
        (
            r"primes? (?:numbers )?(?:below|under|up to|less than)",
            lambda: f'print("primes:", list(sympy.primerange({first})))',
        ),
        (
            r"prime factor|factori[sz]e",
            lambda: f'print("prime factors:", sympy.factorint({first}))',
        ),
        (r"\bprime\b", lambda: f'print("is {first} prime:", sympy.isprime({first}))'),
        (
            r"fibonacci",
            lambda: f'print("Fibonacci:", [sympy.fibonacci(n) for n in range({first})])',
        ),
        (r"divisors", lambda: f'print("divisors:", sympy.divisors({first}))'),
        (r"gcd|greatest common", lambda: f'print("gcd:", sympy.igcd(*{found}))'),
        (r"lcm|least common|lowest common", lambda: f'print("lcm:", sympy.ilcm(*{found}))'),
    ]
    for pattern, body in rules:
        if re.search(pattern, text):
            return Plan("import sympy\n\n" + body() + "\n", lambda shown: listing(shown.facts))
    return None
