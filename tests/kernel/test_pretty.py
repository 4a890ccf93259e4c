"""Values are laid out exactly as IPython lays them out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanderling.kernel import layout, pretty
from sanderling.kernel.pretty import Printer
from sanderling.kernel.pretty import pretty as printed

ROOT = Path(layout.__file__).parents[2]

# Makes values at random, prints each both ways, and says which differ. Run by the guest's Python.
COMPARISON = r"""
import collections, dataclasses, datetime, json, math, os, random, re, sys, types
sys.path.insert(0, sys.argv[1])
from sanderling.kernel.pretty import pretty
from IPython.core.formatters import PlainTextFormatter

theirs = PlainTextFormatter()
pick = random.Random(int(sys.argv[2]))

@dataclasses.dataclass
class Data:
    a: object
    b: object

class Lines:
    def __init__(self, text): self.text = text
    def __repr__(self): return self.text

class Plain: pass

class Own:
    def __init__(self, *items): self.items = items
    def _repr_pretty_(self, p, cycle):
        with p.group(4, "Own(", ")"):
            for number, item in enumerate(self.items):
                if number:
                    p.text(",")
                    p.breakable()
                p.pretty(item)

class MyList(list): pass

class MyDict(dict):
    def __repr__(self): return "MyDict<%d>" % len(self)

class Mine(Exception): pass

def text():
    length = pick.randint(0, pick.choice([3, 20, 120]))
    return "".join(pick.choice("ab c\n\\é字\"'") for _ in range(length))

def atom():
    return pick.choice([
        lambda: pick.randint(-10 ** 12, 10 ** 12),
        lambda: pick.random() * 10 ** pick.randint(-8, 8),
        text, text, lambda: pick.choice([None, True, b"x\x00", int, Plain, len, math.pi, print,
            datetime.date(2020, 1, 1), float("nan"), range(3), re.compile("a\\\\b", re.I),
            Lines("one\ntwo is long\nthree"), Lines("x" * 90), Mine("a", 1)]),
    ])()

def key():
    return pick.choice([lambda: pick.randint(0, 999), lambda: "abcdef" * pick.randint(0, 5),
                        lambda: (pick.randint(0, 9), "z" * pick.randint(0, 20))])()

def value(depth):
    if depth <= 0 or pick.random() < 0.15:
        return atom()
    count = pick.choice([0, 1, 2, 3, 5, 8, 13, 30])
    items = [value(depth - 1) for _ in range(count)]
    table = {key(): item for item in items}
    kinds = [lambda: items, lambda: items, lambda: tuple(items), lambda: table, lambda: table,
             lambda: {key() for _ in items}, lambda: frozenset(key() for _ in items),
             lambda: collections.OrderedDict(table), lambda: collections.defaultdict(list, table),
             lambda: MyDict(table), lambda: types.MappingProxyType(table),
             lambda: collections.deque(items), lambda: collections.deque(items, maxlen=50),
             lambda: collections.UserList(items), lambda: MyList(items),
             lambda: collections.Counter(key() for _ in items),
             lambda: types.SimpleNamespace(**{"k%d" % n: v for n, v in enumerate(items)}),
             lambda: Data(items, table), lambda: Own(*items)]
    return pick.choice(kinds)()

def values():
    for _ in range(int(sys.argv[3])):
        made = value(pick.choice([1, 2, 3, 4]))
        if isinstance(made, list) and pick.random() < 0.05:
            made.append(made)
        yield made
    yield from [list(range(2000)), set(range(1500)), {n: n for n in range(1001)}, [[]] * 1001,
        object, type, Plain, super(MyList, MyList()), [].append, lambda x, *a, **k: 1,
        {1: 2}.keys(), Plain().__class__, collections.ChainMap({1: 2}), Lines(""), Lines("a\n"),
        [Lines("")], (1,), ((),), set(), frozenset(), {}, os.environ, slice(1, 2), Ellipsis,
        re.compile(b"x"), re.compile("x"), {Plain}, [float], True, 10 ** 50, Mine, sys]

wrong = [[pretty(v), theirs(v)] for v in values() if pretty(v) != theirs(v)]
print(json.dumps(wrong[:3]))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_the_text_of_any_value_is_ipythons(guest_python: Path, seed: int) -> None:
    has_ipython = subprocess.run([guest_python, "-c", "import IPython"], check=False)
    if has_ipython.returncode:
        pytest.skip("IPython is not in the guest environment")

    done = subprocess.run(
        [guest_python, "-c", COMPARISON, str(ROOT), str(seed), "600"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        ("a'b", '"a\'b"'),
        ({"b": 1, "a": [1.5, None]}, "{'b': 1, 'a': [1.5, None]}"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (int, "int"),
        (len, "<function len(obj, /)>"),
        ((1,), "(1,)"),
        (["x" * 50, "y" * 50], "['" + "x" * 50 + "',\n '" + "y" * 50 + "']"),
        (list(range(1200)), "[" + ",\n ".join(map(str, range(1000))) + ",\n ...]"),
    ],
)
def test_values_are_printed(value: object, text: str) -> None:
    assert printed(value) == text


def test_a_list_in_itself_is_printed() -> None:
    inner: list[object] = [1]
    inner.append(inner)

    assert printed(inner) == "[1, [...]]"


ATOMS = st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.binary(max_size=9)


@given(st.lists(ATOMS, max_size=12) | st.dictionaries(st.text(max_size=9), ATOMS, max_size=9))
def test_the_short_way_is_the_long_way(value: object) -> None:
    printer = Printer()
    printer.pretty(value)
    printer.flush()

    assert pretty.pretty(value) == printer.text_so_far
