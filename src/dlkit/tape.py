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

import numpy as np

from dlkit.backends import kernels
from dlkit.errors import DTypeError, GradientError, ShapeError

if TYPE_CHECKING:
    from dlkit.ops.op import Op
    from dlkit.tensor import Tensor


class _Mode(threading.local):
    recording = True  # each thread's own: one that only looks must not stop another that trains


_mode = _Mode()
_number = itertools.count()
_adding = threading.Lock()  # to a leaf's gradient, which several threads may do at once
_FREED = "backward through a graph that an earlier backward has freed; call that one with retain_graph=True"


def is_recording() -> bool:
    return _mode.recording


@contextlib.contextmanager
def recording(wanted: bool) -> Iterator[None]:
    """Inside the block ops are recorded, or not."""
    before, _mode.recording = _mode.recording, wanted
    try:
        yield
    finally:
        _mode.recording = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Inside the block no op is recorded; results do not require gradients."""
    return recording(False)


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
            raise GradientError(_FREED)
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


def _owner(array: Any) -> int:
    """Whose memory this array is a view of."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return id(array)


def _leaf_gradients(root: Tensor, dy: Any, keep: bool, create_graph: bool) -> dict[Tensor, Any]:
    """leaf -> its gradient, for all leaves that `root` depends on; arrays, or Tensors if create_graph.

    keep : leave the graph as it is; else each node forgets what it kept as soon as it has been passed.
    """
    k: Any = kernels(root.device)
    if root.node is None:
        return {root: dy if create_graph else k.copy(dy)}
    if create_graph:
        from dlkit.ops.second import differentiable_kernels as k  # not above: ops need the tape
    leaves: dict[Tensor, Any] = {}
    taken = {_owner(dy)}  # memory that is the caller's or another leaf's: ops pass `dy` on as it is
    pending: dict[Node, Any] = {root.node: dy}
    for node in _reachable(root.node):
        dy = pending.pop(node)
        if node.hooks:
            dy = _after_hooks(node.hooks, dy, root.device, create_graph)
        op, needs, saved, inputs = node.op, node.needs, node.saved, node.inputs  # `inputs` goes first when it is freed
        if inputs is None:  # another thread has passed here since
            raise GradientError(_FREED)
        if create_graph:
            op.require_second_derivative()
            saved = _saved_as_tensors(node, root.device)
        if not keep:
            node.inputs = None
            node.saved = ()
        grads = op.run_backward(k, saved, dy, needs)
        del saved, dy
        for x, wanted, dx in zip(inputs, needs, grads):
            if not wanted:
                continue
            if dx is None:
                raise GradientError(f"op {op.name!r} returned no gradient for an input that needs one")
            if x.node is None:
                if x in leaves:
                    dx = k.add(leaves[x], dx)
                elif not create_graph and _owner(dx) in taken:
                    dx = k.copy(dx)
                taken.add(_owner(dx))
                leaves[x] = dx
            else:
                pending[x.node] = k.add(pending[x.node], dx) if x.node in pending else dx
    return leaves


def _after_hooks(hooks: list[Callable], dy: Any, device: str, create_graph: bool) -> Any:
    from dlkit.tensor import Tensor

    for hook in list(hooks):
        replaced = hook(dy if create_graph else Tensor.wrap(dy, device))
        if replaced is not None:
            dy = replaced if create_graph else replaced.data
    return dy


def _seed(y: Tensor, dy: Any, create_graph: bool) -> Any:
    from dlkit.tensor import Tensor

    if not y.requires_grad:
        raise GradientError("backward of a tensor that does not depend on anything with requires_grad=True")
    if dy is None:
        if y.shape != ():
            raise GradientError(
                f"backward of a tensor of shape {y.shape} needs its upstream gradient; only a scalar's is 1 by default"
            )
        one = kernels(y.device).from_host(np.array(1.0, y.dtype))
        return Tensor.wrap(one, y.device) if create_graph else one
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

    if create_graph and not is_recording():
        with recording(True):
            return backward(y, dy, create_graph=True)
    found = _leaf_gradients(y, _seed(y, dy, create_graph), retain_graph or create_graph, create_graph)
    for leaf, g in found.items():
        g = g if create_graph else Tensor.wrap(g, leaf.device)
        if leaf.hooks:
            for hook in list(leaf.hooks):
                replaced = hook(g)
                g = g if replaced is None else replaced
        with _adding:
            if leaf.grad is None:
                leaf.grad = g
            elif create_graph:
                leaf.grad = leaf.grad + g
            else:
                leaf.grad = Tensor.wrap(kernels(leaf.device).add(leaf.grad.data, g.data), leaf.device)


def grad(y: Tensor, xs: Sequence[Tensor], dy: Any = None, *, create_graph: bool = False) -> list[Tensor]:
    """dy/dx for each leaf x in `xs`, without touching any `.grad` (hooks on leaves belong to `backward` and stay silent).

    create_graph : the result can be differentiated again (second derivatives), where every op on the way has a
        backward that is itself made of ops.
    Raises : GradientError if y does not depend on one of `xs`, or an op has no second derivative.
    """
    from dlkit.tensor import Tensor

    if create_graph and not is_recording():
        with recording(True):
            return grad(y, xs, dy, create_graph=True)
    found = _leaf_gradients(y, _seed(y, dy, create_graph), True, create_graph)
    for i, x in enumerate(xs):
        if x not in found:
            why = "is not a leaf with requires_grad=True" if x.node or not x.requires_grad else "does not feed it"
            raise GradientError(f"no gradient of the output for input {i}: it {why}")
    return [g if isinstance(g := found[x], Tensor) else Tensor.wrap(g, x.device) for x in xs]
