"""Products, reductions and rearranging."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.onnx.emit.writer import FIRST, LAST, Call, Writer, emitter, refuse
from dlkit.tensor import Tensor


@emitter("linear")
def linear(w: Writer, call: Call) -> None:
    x, weight, bias = call.inputs
    if x.ndim == 2:
        y = w.node("Gemm", [w.name(x), w.name(weight), *([] if bias is None else [w.name(bias)])])
    else:
        y = w.node("MatMul", [w.name(x), w.name(weight)])
        y = y if bias is None else w.node("Add", [y, w.name(bias)])
    w.define(call.output, w.activated(y, call.attributes["activation"]))


def _turned(w: Writer, x: Tensor, turn: bool) -> str:
    axes = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return w.node("Transpose", [w.name(x)], perm=axes) if turn else w.name(x)


@emitter("matmul")
def matmul(w: Writer, call: Call) -> None:
    a, b = call.inputs
    names = [_turned(w, a, call.attributes["transpose_a"]), _turned(w, b, call.attributes["transpose_b"])]
    w.define(call.output, w.node("MatMul", names))


@emitter("softmax")
def softmax(w: Writer, call: Call) -> None:
    _along(w, call, "Softmax")


@emitter("log_softmax")
def log_softmax(w: Writer, call: Call) -> None:
    _along(w, call, "LogSoftmax")


def _along(w: Writer, call: Call, operator: str) -> None:
    x = call.inputs[0]
    form = w.form_of(x)
    axis = w.axis(call.attributes["axis"], form)
    w.define(call.output, w.node(operator, [w.name(x, form)], axis=axis), form)


def _reduced(operator: str) -> Any:
    def emit(w: Writer, call: Call) -> None:
        x, axes, keepdims = call.inputs[0], call.attributes["axes"], call.attributes["keepdims"]
        form = w.form_of(x) if keepdims or len(axes) == x.ndim else LAST
        over = w.integers(*sorted(w.axis(a, form) for a in axes))
        y = w.node(operator, [w.name(x, form), over], keepdims=int(keepdims))
        w.define(call.output, y, form if keepdims else LAST)

    return emit


emitter("sum")(_reduced("ReduceSum"))
emitter("mean")(_reduced("ReduceMean"))
emitter("max")(_reduced("ReduceMax"))


@emitter("argmax")
def argmax(w: Writer, call: Call) -> None:
    w.define(call.output, w.node("ArgMax", [w.name(call.inputs[0])], axis=call.attributes["axis"], keepdims=0))


@emitter("reshape")
def reshape(w: Writer, call: Call) -> None:
    """The number of examples stays open: 0 copies it, -1 counts what was folded into it."""
    x, shape = call.inputs[0], list(call.attributes["shape"])
    if w.is_weight(x):
        w.define(call.output, w.node("Reshape", [w.name(x), w.integers(*shape)]))
        return
    if shape and x.shape and shape[0] == x.shape[0]:
        shape[0] = 0
    elif shape and shape[0] % w.batch == 0:
        shape[0] = -1
    form = w.form_of(x)
    if x.ndim == 4 and not (x.shape[3] == 1 or x.shape[1:3] == (1, 1)):
        form = LAST  # where only one axis is longer than 1, both forms hold the numbers in the same order
    w.define(call.output, w.node("Reshape", [w.name(x, form), w.integers(*shape)]))


@emitter("transpose")
def transpose(w: Writer, call: Call) -> None:
    w.define(call.output, w.node("Transpose", [w.name(call.inputs[0])], perm=call.attributes["axes"]))


@emitter("broadcast_to")
def broadcast_to(w: Writer, call: Call) -> None:
    shape = call.attributes["shape"]
    if shape and shape[0] == w.batch and not w.is_weight(call.inputs[0]):
        shape = (1, *shape[1:])  # Expand keeps the larger of the two
    w.define(call.output, w.node("Expand", [w.name(call.inputs[0]), w.integers(*shape)]))


@emitter("concat")
def concat(w: Writer, call: Call) -> None:
    form = w.form_of(*call.inputs)
    names = [w.name(x, form) for x in call.inputs]
    w.define(call.output, w.node("Concat", names, axis=w.axis(call.attributes["axis"], form)), form)


@emitter("pad")
def pad(w: Writer, call: Call) -> None:
    x, a = call.inputs[0], call.attributes
    form = w.form_of(x)
    widths = [a["widths"][i] for i in ((0, 3, 1, 2) if form == FIRST else range(x.ndim))]
    pads = w.integers(*(before for before, _ in widths), *(after for _, after in widths))
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[a["mode"]]
    w.define(call.output, w.node("Pad", [w.name(x, form), pads, w.name(a["value"])], mode=mode), form)


@emitter("gather")
def gather(w: Writer, call: Call) -> None:
    x, index = call.inputs
    names = [w.name(x), w.name(index)]
    w.define(call.output, w.node("GatherElements", names, axis=call.attributes["axis"]))


@emitter("take")
def take(w: Writer, call: Call) -> None:
    """Slices in one node; then whole numbers, one array of indices, and new axes, from the last axis to the first."""
    x, index = call.inputs[0], call.attributes["index"]
    parts = [p for p in index if p is not None]
    if sum(isinstance(p, np.ndarray) for p in parts) > 1:
        raise refuse("take", "more than one array of indices")
    plain = all(isinstance(p, slice) for p in index)
    form = w.form_of(x) if plain else LAST
    y = w.name(x, form)
    cuts = [(w.axis(i, form), p) for i, p in enumerate(parts) if isinstance(p, slice) and p != slice(None)]
    if cuts:
        starts = w.integers(*(0 if p.start is None and (p.step or 1) > 0 else _bound(p.start, -1) for _, p in cuts))
        ends = w.integers(*(_bound(p.stop, 2**31 if (p.step or 1) > 0 else -(2**31)) for _, p in cuts))
        axes, steps = w.integers(*(a for a, _ in cuts)), w.integers(*(p.step or 1 for _, p in cuts))
        y = w.node("Slice", [y, starts, ends, axes, steps])
    for i, part in reversed(list(enumerate(parts))):
        if isinstance(part, np.ndarray):
            y = w.node("Gather", [y, w.constant(part.astype(np.int64))], axis=i)
        elif not isinstance(part, slice):
            y = w.node("Gather", [y, w.constant(np.array(part, np.int64))], axis=i)
    kept = [p for p in index if p is None or isinstance(p, (slice, np.ndarray))]
    new = [i for i, p in enumerate(kept) if p is None]
    if new:
        y = w.node("Unsqueeze", [y, w.integers(*new)])
    w.define(call.output, y, form)


def _bound(given: int | None, default: int) -> int:
    return default if given is None else given
