"""Where the nodes of a layered drawing stand: an acyclic graph from top to bottom, edges that pass rows get a place there.

Source : Sugiyama, Tagawa & Toda 1981, with barycentres for the order; places by least squares that keep the order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

SWEEPS = 8
STRAIGHT = 8.0  # how much more a passing edge wants to stay vertical than a box wants to stand under its neighbours


@dataclass
class Layout:
    """x : of each node's middle; row : of each node, 0 on top; paths : for each edge the middles (x, row) it passes."""

    x: list[float]
    row: list[int]
    paths: dict[tuple[int, int], list[tuple[float, int]]]


def layered(widths: list[float], edges: list[tuple[int, int]], gap: float = 24.0) -> Layout:
    """widths : of the nodes, numbered in an order in which every edge leads from a smaller to a larger one."""
    real = len(widths)  # nodes from here on are the places where edges pass a row
    row = [0] * real
    for a, b in edges:  # the longest way from the top, as edges are sorted by where they end
        row[b] = max(row[b], row[a] + 1)
    widths = list(widths)
    chains: dict[tuple[int, int], list[int]] = {}
    links: list[tuple[int, int]] = []
    for a, b in edges:
        chain = [a]
        for between in range(row[a] + 1, row[b]):
            chain.append(len(widths))
            widths.append(gap / 2)
            row.append(between)
        chains[a, b] = [*chain, b]
        links += list(zip(chains[a, b], chains[a, b][1:]))
    count = len(set(row))
    rows: list[list[int]] = [[] for _ in range(count)]
    for node, r in enumerate(row):
        rows[r].append(node)
    above, below = defaultdict(list), defaultdict(list)
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    _order(rows, above, below)
    x = _places(rows, widths, above, below, gap, real)
    paths = {edge: [(x[n], row[n]) for n in chain] for edge, chain in chains.items()}
    return Layout(x[:real], row[:real], paths)


def _order(rows: list[list[int]], above: dict, below: dict) -> None:
    """Sorts each row by the mean place of the neighbours in the row before, down and up in turn."""
    place = {node: float(i) for nodes in rows for i, node in enumerate(nodes)}
    for sweep in range(SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for nodes in rows if sweep % 2 == 0 else rows[::-1]:
            means = {n: sum(place[m] for m in neighbours[n]) / len(neighbours[n]) for n in nodes if neighbours[n]}
            nodes.sort(key=lambda n: means.get(n, place[n]))
            place.update((n, float(i)) for i, n in enumerate(nodes))


def _places(rows: list[list[int]], widths: list[float], above: dict, below: dict, gap: float, real: int) -> list[float]:
    x = [0.0] * len(widths)
    for nodes in rows:
        for node, offset in zip(nodes, _offsets(nodes, widths, gap)):
            x[node] = offset
    for sweep in range(4 * SWEEPS):
        for nodes in rows if sweep % 2 == 0 else rows[::-1]:
            wanted, weights = [], []
            for n in nodes:
                near = [(m, STRAIGHT if n >= real and m >= real else 1.0) for m in (*above[n], *below[n])]
                weight = sum(w for _, w in near)
                wanted.append(sum(w * x[m] for m, w in near) / weight if weight else x[n])
                weights.append(weight or 1.0)
            for n, place in zip(nodes, _apart(wanted, weights, _offsets(nodes, widths, gap))):
                x[n] = place
    return x


def _offsets(nodes: list[int], widths: list[float], gap: float) -> list[float]:
    """Where the nodes of a row would stand, packed from the left."""
    out, at = [], 0.0
    for n in nodes:
        out.append(at + widths[n] / 2)
        at += widths[n] + gap
    return out


def _apart(wanted: list[float], weights: list[float], offsets: list[float]) -> list[float]:
    """The places nearest to the wanted ones (least squares) with at least the offsets' distances: isotonic regression
    of what is wanted beyond the offsets, by pooling adjacent violators."""
    blocks: list[list[float]] = []  # [mean, weight, how many]
    for want, weight, offset in zip(wanted, weights, offsets):
        blocks.append([want - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, w, n = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * w) / (last[1] + w)
            last[1] += w
            last[2] += n
    shifts = [mean for mean, _, n in blocks for _ in range(int(n))]
    return [shift + offset for shift, offset in zip(shifts, offsets)]
