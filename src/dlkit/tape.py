"""The tape: records op calls as they happen and walks them backwards. It knows no op by name.

Every recorded call is a Node: its op, its input tensors, and what the op's forward kept for its backward. Nodes are
numbered as they are made, so descending order is a reverse topological order. The walk frees each node as it passes,
unless `retain_graph` (or `create_graph`) keeps the graph for another walk.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlkit.backends import kernels
from dlkit.errors import DTypeError, GradientError, ShapeError

if TYPE_CHECKING:
    from dlkit.ops.op import Op
    from dlkit.tensor import Tensor


class _Mode(threading.local):
    recording = True  # each thread's own: one that only looks must not stop another that trains


_mode = _Mode()
_number = itertools.count()


def is_recording() -> bool:
    return _mode.recording


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside the block no op is recorded; results do not require gradients."""
    before, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = before


class Node:
    """One recorded op call."""

    __slots__ = ("hooks", "inputs", "needs", "number", "op", "output_id", "saved")

    def __init__(self, op: Op, inputs: tuple, needs: tuple[bool, ...], saved: tuple, output_id: int):
        self.op = op
        self.inputs: tuple | None = inputs  # Tensors, numbers or None, in the op's order
        self.needs = needs  # which inputs want a gradient
        self.saved = saved  # what forward kept for backward
        self.output_id = output_id  # id of the output's array: recognises it in `saved`
        self.hooks: list[Callable] | None = None
        self.number = next(_number)


def _reachable(root: Node) -> list[Node]:
    """All nodes that feed `root`, itself included, newest first."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.inputs is None:
            raise GradientError(
                "backward through a graph that an earlier backward has freed; call that one with retain_graph=True"
            )
        for x, wanted in zip(node.inputs, node.needs):
            if wanted and x.node is not None and x.node not in seen:
                seen.add(x.node)
                stack.append(x.node)
    return sorted(seen, key=lambda n: -n.number)


def _saved_as_tensors(node: Node, device: str) -> tuple:
    """For a derivative of the derivative: what was kept, as tensors that still know where they came from."""
    from dlkit.tensor import Tensor

    inputs = {id(x.data): x for x in node.inputs or () if isinstance(x, Tensor)}

    def as_tensor(item: Any) -> Any:
        if id(item) in inputs:
            return inputs[id(item)]
        if id(item) == node.output_id:
            return Tensor.of_node(item, device, node)
        return Tensor.wrap(item, device) if hasattr(item, "shape") and hasattr(item, "dtype") else item

    return tuple(as_tensor(item) for item in node.saved)


def _walk(root: Tensor, dy: Any, keep: bool, create_graph: bool) -> Iterator[tuple[Tensor, Any]]:
    """Yields (leaf, gradient) contributions; gradients are arrays, or Tensors if create_graph."""
    from dlkit.ops.second import differentiable_kernels
    from dlkit.tensor import Tensor

    if root.node is None:
        yield root, dy
        return
    k: Any = differentiable_kernels if create_graph else kernels(root.device)
    pending: dict[Node, Any] = {root.node: dy}
    for node in _reachable(root.node):
        dy = pending.pop(node)
        if node.hooks:
            for hook in list(node.hooks):
                replaced = hook(dy if create_graph else Tensor.wrap(dy, root.device))
                if replaced is not None:
                    dy = replaced if create_graph else replaced.data
        saved = node.saved
        if create_graph:
            node.op.require_second_derivative()
            saved = _saved_as_tensors(node, root.device)
        inputs, needs = node.inputs, node.needs
        assert inputs is not None
        grads = node.op.run_backward(k, saved, dy, needs)
        if not keep:
            node.inputs = None
            node.saved = ()
        del saved
        for x, wanted, dx in zip(inputs, needs, grads):
            if not wanted:
                continue
            if dx is None:
                raise GradientError(f"op {node.op.name!r} returned no gradient for an input that needs one")
            if x.node is None:
                yield x, dx
            elif x.node in pending:
                pending[x.node] = k.add(pending[x.node], dx)
            else:
                pending[x.node] = dx


def _seed(y: Tensor, dy: Any, create_graph: bool) -> Any:
    from dlkit.tensor import Tensor

    if not y.requires_grad:
        raise GradientError("backward of a tensor that does not depend on anything with requires_grad=True")
    if dy is None:
        if y.shape != ():
            raise GradientError(
                f"backward of a tensor of shape {y.shape} needs its upstream gradient; only a scalar's is 1 by default"
            )
        dy = Tensor.wrap(kernels(y.device).full((), 1.0, y.dtype), y.device)
    elif not isinstance(dy, Tensor):
        dy = Tensor(dy, dtype=y.dtype, device=y.device)
    if dy.dtype != y.dtype:
        raise DTypeError(f"upstream gradient is {dy.dtype}, expected the output's {y.dtype}; convert it with .astype")
    if dy.shape != y.shape:
        raise ShapeError(f"upstream gradient has shape {dy.shape}, expected the output's shape {y.shape}")
    return dy if create_graph else dy.data


def backward(y: Tensor, dy: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Adds d(y·dy)/d(leaf) to `.grad` of every leaf that `y` depends on and that requires a gradient.

    dy : upstream gradient of y's shape; 1 for a scalar.  Raises : GradientError, ShapeError.
    """
    from dlkit.tensor import Tensor

    k = kernels(y.device)
    leaves: dict[int, tuple[Tensor, Any]] = {}
    for leaf, g in _walk(y, _seed(y, dy, create_graph), retain_graph or create_graph, create_graph):
        if id(leaf) in leaves:
            g = leaves[id(leaf)][1] + g if create_graph else k.add(leaves[id(leaf)][1], g)
        leaves[id(leaf)] = (leaf, g)
    for leaf, g in leaves.values():
        g = g if create_graph else Tensor.wrap(g, leaf.device)
        for hook in list(leaf.hooks or ()):
            replaced = hook(g)
            g = g if replaced is None else replaced
        if leaf.grad is not None:
            g = leaf.grad + g if create_graph else Tensor.wrap(k.add(leaf.grad.data, g.data), leaf.device)
        leaf.grad = g


def grad(y: Tensor, xs: Sequence[Tensor], dy: Any = None, *, create_graph: bool = False) -> list[Tensor]:
    """dy/dx for each leaf x in `xs`, without touching any `.grad` (hooks on leaves belong to `backward` and stay silent).

    create_graph : the result can be differentiated again (second derivatives), where every op on the way has a
        backward that is itself made of ops.
    Raises : GradientError if y does not depend on one of `xs`, or an op has no second derivative.
    """
    from dlkit.tensor import Tensor

    k = kernels(y.device)
    wanted = {id(x) for x in xs}
    found: dict[int, Any] = {}
    for leaf, g in _walk(y, _seed(y, dy, create_graph), True, create_graph):
        if id(leaf) in wanted:
            known = found.get(id(leaf))
            found[id(leaf)] = g if known is None else known + g if create_graph else k.add(known, g)
    for i, x in enumerate(xs):
        if id(x) not in found:
            why = "is not a leaf with requires_grad=True" if x.node or not x.requires_grad else "does not feed it"
            raise GradientError(f"no gradient of the output for input {i}: it {why}")
    return [g if isinstance(g := found[id(x)], Tensor) else Tensor.wrap(g, x.device) for x in xs]
