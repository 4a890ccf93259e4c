"""The cells that everybody runs. They use no name with underscores: some peers refuse those."""

from __future__ import annotations

PRINT = "print(1)"
NEXT = "x = 1"
IMPORTS = (
    "import pandas, numpy, matplotlib\nimport matplotlib.pyplot as plt\nprint(pandas.DataFrame)"
)
_DRAW = "plt.plot([1, 2, 3])\n"
_SHOW = "plt.show()"
_SAVE = (
    "import io, base64\n"
    "png = io.BytesIO()\n"
    "plt.savefig(png, format='png')\n"
    "print(base64.b64encode(png.getvalue()).decode())"
)


def plot(*, is_shown: bool) -> str:
    """Draw, and hand the png over: by `plt.show()`, or printed where that shows nothing."""
    return _DRAW + (_SHOW if is_shown else _SAVE)
