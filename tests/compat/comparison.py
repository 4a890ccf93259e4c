"""Runs a session in both kernels at once and says where they differ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.compat.jupyter import JupyterKernel
from tests.compat.ours import OurKernel
from tests.compat.outcome import Outcome
from tests.compat.sessions import Cell


@dataclass(frozen=True, slots=True)
class Bench:
    """Where kernels are run. `folder` is new and empty."""

    python: Path
    overlay: Path
    folder: Path

    def at(self, name: str) -> Bench:
        """The same in a folder of its own."""
        return replace(self, folder=self.folder / name)

    def _place(self, name: str) -> Path:
        folder = self.folder / name / "data"
        folder.mkdir(parents=True)
        # matplotlib's list of fonts, made once: it takes seconds, and may say so on stderr.
        (folder / ".cache").symlink_to(self.overlay.parent / "cache")
        return folder

    def reference(self, cells: list[Cell], name: str = "jupyter") -> list[Outcome]:
        """What Jupyter shows."""
        folder, home = self._place(name), self.folder / name / "home"
        home.mkdir()
        with JupyterKernel(self.python, self.overlay, folder, home) as kernel:
            return [kernel.run(cell.source) for cell in cells]

    def ours(self, cells: list[Cell]) -> list[Outcome]:
        """What our kernel shows."""
        with OurKernel(self.python, self._place("ours")) as kernel:
            return [kernel.run(cell.source) for cell in cells]

    def again(self, cells: list[Cell]) -> list[Outcome]:
        """What Jupyter shows when it is asked once more."""
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(self.reference, cells, "again").result()

    def both(self, cells: list[Cell]) -> tuple[list[Outcome], list[Outcome]]:
        """What Jupyter shows, and what our kernel shows."""
        with ThreadPoolExecutor(2) as threads:
            reference = threads.submit(self.reference, cells)
            ours = threads.submit(self.ours, cells)
            return reference.result(), ours.result()


def report(cell: Cell, reference: Outcome, ours: Outcome) -> str:
    """One cell's difference, for people."""
    lines = [f"---- cell {cell.number} {cell.difference}", cell.source]
    for name, (there, here) in reference.unlike(ours).items():
        lines += [f"  {name}", f"    Jupyter: {there!r}", f"    ours:    {here!r}"]
    return "\n".join(lines)
