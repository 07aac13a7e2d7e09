"""What a gradient check found: plain data that prints well, on a terminal, in a notebook, as JSON."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dlkit.gradients.compare import Comparison, worst_elements


@dataclass
class Worst:
    """The element that agrees least. index : () for a direction that moves the whole input; tolerance : what its
    error is held against; error / tolerance > 1 is wrong."""

    error: float = 0.0
    tolerance: float = 1e-5
    sample: str = ""
    input: str = ""
    index: tuple[int, ...] = ()
    analytic: float = 0.0
    numeric: float = 0.0
    step: float = 0.0
    backend: str = ""
    dtype: str = "float64"

    @property
    def ratio(self) -> float:
        return self.error / self.tolerance

    @property
    def where(self) -> str:
        """input[index] of the sample: analytic, numeric and the step between."""
        if not self.input:
            return ""
        return (
            f"{self.input}{list(self.index) if self.index else ''} of {self.sample or 'the call'}: analytic "
            f"{self.analytic:.8g}, numeric {self.numeric:.8g} (step {self.step:.0e})"
        )


@dataclass
class Element:
    """One element of one input: what backward says and what the differences say."""

    input: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float


@dataclass
class GradientReport:
    """One checked thing.

    elements : compared; kinks : left out, because the function has a corner there; failure : "" or what is wrong, in a
    line; diagnosis : the patterns that the wrong gradient shows, surest first; side_by_side : its worst elements; notes :
    what was not checked, and why.
    """

    name: str
    kind: str
    backends: list[str] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    samples: int = 0
    elements: int = 0
    kinks: int = 0
    worst: Worst = field(default_factory=Worst)
    tolerance: float = 1e-5
    seconds: float = 0.0
    failure: str = ""
    diagnosis: list[str] = field(default_factory=list)
    side_by_side: list[Element] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failure

    def add(self, comparisons: list[Comparison], sample: str, backend: str, dtype: str, tolerance: float) -> None:
        """Counts what was compared and keeps the worst; the first wrong element becomes the failure."""
        for c in comparisons:
            self.elements += len(c.probes)
            self.kinks += int(c.kink.sum())
            error = c.errors()
            j, k = np.unravel_index(int(error.argmax()), error.shape)
            self.weigh(
                Worst(
                    float(error[j, k]),
                    tolerance,
                    sample,
                    c.input,
                    c.probes[j].index,
                    float(c.analytic[j, k]),
                    float(c.numeric[j, k]),
                    float(c.step[j]),
                    backend,
                    dtype,
                )
            )
            if error.max() > tolerance and len(self.side_by_side) < 6:
                self.side_by_side += [Element(p.input, p.index, a, n, e) for p, a, n, e in worst_elements(c)]

    def weigh(self, worst: Worst) -> None:
        if worst.ratio >= self.worst.ratio or not self.worst.input:
            self.worst = worst

    def conclude(self) -> GradientReport:
        """Turns what was counted into a verdict, unless something has failed before."""
        w = self.worst
        if not self.failure and w.ratio > 1:
            self.failure = f"{w.where}, relative error {w.error:.1e}, allowed {w.tolerance:.0e}"
            if w.dtype != "float64" or len(self.backends) > 1:
                self.failure += f", {w.backend} {w.dtype}"
        if not self.failure and self.elements and self.kinks > 0.5 * self.elements:
            self.failure = f"{self.kinks} of {self.elements} elements lie on kinks: nothing was shown"
        return self

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {'ok' if self.passed else 'WRONG'}, worst relative error {self.worst.error:.1e} "
            f"in {self.elements} elements" + (f", {self.kinks} on kinks left out" if self.kinks else "")
        ]
        if self.failure:
            lines.append(f"  {self.failure}")
        lines += [f"  → {d}" for d in self.diagnosis]
        if self.failure and self.side_by_side:
            lines.append("")
            lines += [f"  {row}" for row in _columns(self.side_by_side)]
        return "\n".join(lines + [f"  note: {n}" for n in self.notes])

    def _repr_html_(self) -> str:
        """For notebooks: the verdict, the diagnosis, and the worst elements as a table."""
        mark = "<b style='color:#1a7f37'>ok</b>" if self.passed else "<b style='color:#cf222e'>wrong</b>"
        parts = [
            f"<p><code>{html.escape(self.name)}</code> {mark}: worst relative error {self.worst.error:.1e} in "
            f"{self.elements} elements, {self.kinks} on kinks</p>"
        ]
        parts += [f"<p>{html.escape(text)}</p>" for text in (self.failure, *self.diagnosis, *self.notes) if text]
        if self.failure and self.side_by_side:
            cells = "".join(
                f"<tr><td>{html.escape(e.input)}{list(e.index)}</td><td>{e.analytic:.8g}</td><td>{e.numeric:.8g}</td>"
                f"<td>{e.error:.1e}</td></tr>"
                for e in self.side_by_side
            )
            parts.append(
                "<table><tr><th>element</th><th>analytic</th><th>numeric</th><th>error</th></tr>" + cells + "</table>"
            )
        return "".join(parts)


def _columns(elements: list[Element]) -> list[str]:
    rows = [("element", "analytic", "numeric", "error")]
    rows += [(f"{e.input}{list(e.index)}", f"{e.analytic:.8g}", f"{e.numeric:.8g}", f"{e.error:.1e}") for e in elements]
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    return [r[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(r[1:], widths[1:])) for r in rows]
