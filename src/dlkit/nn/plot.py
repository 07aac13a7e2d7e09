"""A network's graph as a picture: a box for each layer or op, arrows with the data, shapes beside them. Plain SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from dlkit.nn.functional import Input, calls_between
from dlkit.nn.layered import Layout, layered
from dlkit.nn.module import Module, unfolded
from dlkit.symbol import Call, Symbol, leaves

COLOURS = {
    "conv": "#dbe9f9",
    "linear": "#dbe9f9",
    "norm": "#e6e2f5",
    "pool": "#fbe3d4",
    "upsample": "#fbe3d4",
    "input": "#dcefdc",
    "output": "#dcefdc",
    "dropout": "#eeeeee",
}
OTHER = "#f7f4e3"
HEIGHT, ROW, MARGIN, LETTER = 34, 58, 16, 6.4  # of a box, from row to row, around the picture, of a letter (pixels)


@dataclass
class Box:
    """what : the layer or op; name : in the network; shape : of its output."""

    what: str
    name: str
    shape: str

    @property
    def width(self) -> float:
        return LETTER * max(len(self.what), len(self.name) + len(self.shape) + 2, 8) + 12

    @property
    def colour(self) -> str:
        kind = self.what.lower().partition("(")[0]
        return next((colour for word, colour in COLOURS.items() if word in kind), OTHER)


def graph_svg(model: Module, input_shape: tuple[int, ...] | list[tuple[int, ...]]) -> str:
    """The graph of all layers and ops as the text of an SVG file; nothing is computed.

    input_shape : of one example, or a list of them.  Raises : ShapeError where the shapes do not fit.
    """
    boxes, edges = _graph(model, input_shape)
    return _svg(boxes, edges, layered([box.width for box in boxes], edges))


def _graph(
    model: Module, input_shape: tuple[int, ...] | list[tuple[int, ...]]
) -> tuple[list[Box], list[tuple[int, int]]]:
    """Boxes in the order of the calls, and edges sorted by where they end."""
    inputs = [Input(s) for s in (input_shape if isinstance(input_shape, list) else [input_shape])]
    with unfolded():
        outputs = [y for y in leaves(model(*inputs)) if isinstance(y, Symbol)]
    names = {id(m): name for name, m in model.named_modules()}
    boxes = [Box("Input", "", _shape(x)) for x in inputs]
    number = {id(x): i for i, x in enumerate(inputs)}
    edges = []
    for call in calls_between(inputs, outputs):
        edges += [(number[id(x)], len(boxes)) for x in leaves(call.inputs) if isinstance(x, Symbol)]
        made = [y for y in leaves(call.output) if isinstance(y, Symbol)]
        number.update((id(y), len(boxes)) for y in made)
        boxes.append(_box(call, names, made))
    for y in outputs:
        edges.append((number[id(y)], len(boxes)))
        boxes.append(Box("Output", "", _shape(y)))
    return boxes, list(dict.fromkeys(edges))


def _box(call: Call, names: dict[int, str], made: list[Symbol]) -> Box:
    shapes = ", ".join(_shape(y) for y in made)
    if isinstance(call.callee, Module):
        return Box(call.callee.label(), names.get(id(call.callee), ""), shapes)
    return Box(call.callee.name, "", shapes)


def _shape(x: Symbol) -> str:
    return "×".join(map(str, x.shape[1:] or ("number",)))


def _svg(boxes: list[Box], edges: list[tuple[int, int]], layout: Layout) -> str:
    passed = [x for path in layout.paths.values() for x, _ in path]
    left = min([x - box.width / 2 for x, box in zip(layout.x, boxes)] + passed)
    right = max([x + box.width / 2 for x, box in zip(layout.x, boxes)] + passed)
    width, height = right - left + 2 * MARGIN, max(layout.row) * ROW + HEIGHT + 2 * MARGIN
    shift = MARGIN - left
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans, Helvetica, sans-serif" font-size="11">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    lines += [_arrow(layout.paths[edge], shift) for edge in edges]
    for box, x, row in zip(boxes, layout.x, layout.row):
        lines += _drawn(box, x + shift, row * ROW + MARGIN)
    return "\n".join([*lines, "</svg>", ""])


def _arrow(path: list[tuple[float, int]], shift: float) -> str:
    """A curve from the bottom of the first box to the top of the last, straight where it passes a row."""
    points = list(_ends(path, shift))
    d = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        d += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
    return f'<path d="{d}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'


def _ends(path: list[tuple[float, int]], shift: float) -> Iterator[tuple[float, float]]:
    for i, (x, row) in enumerate(path):
        top = row * ROW + MARGIN
        if i > 0:
            yield x + shift, top
        if i < len(path) - 1:
            yield x + shift, top + HEIGHT


def _drawn(box: Box, x: float, top: float) -> list[str]:
    w = box.width
    second = f"{box.name}: {box.shape}" if box.name else box.shape
    return [
        f'<rect x="{x - w / 2:.1f}" y="{top}" width="{w:.1f}" height="{HEIGHT}" rx="5" fill="{box.colour}" '
        'stroke="#777"/>',
        f'<text x="{x:.1f}" y="{top + 14}" text-anchor="middle">{escape(box.what)}</text>',
        f'<text x="{x:.1f}" y="{top + 27}" text-anchor="middle" font-size="10" fill="#555">{escape(second)}</text>',
    ]
