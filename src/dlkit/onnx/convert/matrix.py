"""Matrix products and sums over named axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.layout import permute, plain, stored
from dlkit.onnx.values import host, value
from dlkit.tensor import Tensor


@converter("MatMul")
def matmul(a: Any, b: Any) -> Any:
    """As numpy.matmul: vectors are rows on the left, columns on the right."""
    if not a.ndim or not b.ndim:
        raise OnnxError(f"shapes {a.shape} and {b.shape} must have one axis at least")
    if not isinstance(a, Tensor):
        return np.matmul(a, b)
    left, right = a.ndim == 1, b.ndim == 1
    y = ops.matmul(a.reshape(1, -1) if left else a, b.reshape(-1, 1) if right else b)
    shape = list(y.shape)
    if right:
        shape.pop()
    if left:
        shape.pop(-1 if right else -2)
    return y.reshape(tuple(shape)) if left or right else y


def _inner_first(shapes: list, attributes: dict) -> dict:
    """Weights [O, I] are kept as [I, O], as dlkit's linear layers have them."""
    return {1: (1, 0)} if attributes.get("transB") and shapes[1] is not None and len(shapes[1]) == 2 else {}


@converter("Gemm", since=7, layout="image", weights=_inner_first)
def gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    """alpha · a' b' + beta · c."""
    a, c = plain(a), plain(c)
    if not isinstance(a, Tensor):
        raise UnsupportedOnnx(f"a product of {a.dtype} is not done; float32 or float64 is")
    if a.ndim != 2 or b.ndim != 2:
        raise OnnxError(f"a and b must be matrices; they have shapes {a.shape} and {b.shape}")
    b = stored(b, (1, 0)) if transB else plain(b)
    if not transA and alpha == 1.0 and c is not None and beta == 1.0 and c.shape == (b.shape[1],):
        return ops.linear(a, b, c)
    y = ops.matmul(a, b, transpose_a=bool(transA))
    y = y if alpha == 1.0 else y * alpha
    return y if c is None or beta == 0.0 else y + (c if beta == 1.0 else c * beta)


@converter("Gemm", since=1, layout="image", weights=_inner_first)
def old_gemm(
    a: Any,
    b: Any,
    c: Any,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Any:
    return gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


@converter("Einsum")
def einsum(*xs: Any, equation: str) -> Any:
    """Einstein summation, term by term as one batched matrix product."""
    if not all(isinstance(x, Tensor) for x in xs):
        return np.einsum(equation, *map(host, xs))
    terms, output = _parsed(equation.replace(" ", ""), xs)
    y, letters = _diagonal(xs[0], terms[0])
    for i, x in enumerate(xs[1:], 1):
        x, other = _diagonal(x, terms[i])
        later = set(output).union(*terms[i + 1 :])
        y, letters = _product(y, letters, x, other, later)
    y, letters = _summed(y, letters, set(output))
    return permute(y, tuple(letters.index(c) for c in output))


def _parsed(equation: str, xs: tuple) -> tuple[list[str], str]:
    """Each input's letters and the output's; the axes of '...' get capital letters that the equation does not use."""
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise OnnxError(f"equation {equation!r} has {len(terms)} terms for {len(xs)} inputs")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    counts = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, xs)]
    most = max([n for t, n in zip(terms, counts) if "..." in t], default=0)
    dots = "".join(spare[:most])
    if any((n < 0 if "..." in t else n) for t, n in zip(terms, counts)) or len(dots) < most:
        raise OnnxError(f"equation {equation!r} does not fit inputs of {', '.join(str(x.ndim) for x in xs)} axes")
    named = [t.replace("...", dots[most - n :] if "..." in t else "") for t, n in zip(terms, counts)]
    if not arrow:
        every = "".join(t for t in named)
        output = dots + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    output = output.replace("...", dots)
    if not (set(output) <= set("".join(named)) and len(set(output)) == len(output)) or not all(
        c.isalpha() for t in named for c in t
    ):
        raise OnnxError(f"equation {equation!r} is not understood")
    return named, output


def _diagonal(x: Tensor, letters: str) -> tuple[Any, str]:
    """Axes with the same letter become one: their diagonal."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            i = letters.index(c)
            j = letters.index(c, i + 1)
            if x.shape[i] != x.shape[j]:
                raise OnnxError(f"axes of {x.shape[i]} and {x.shape[j]} share the letter {c!r}")
            rest = tuple(a for a in range(x.ndim) if a not in (i, j))
            x = ops.transpose(x, axes=(i, j, *rest))
            n = np.arange(x.shape[0])
            x = x[n, n]
            letters = c + "".join(letters[a] for a in rest)
    return x, letters


def _summed(x: Any, letters: str, kept: set[str]) -> tuple[Any, str]:
    gone = tuple(i for i, c in enumerate(letters) if c not in kept)
    return (ops.sum(x, axis=gone) if gone else x), "".join(c for c in letters if c in kept)


def _product(a: Any, left: str, b: Any, right: str, later: set[str]) -> tuple[Any, str]:
    """The product of two terms, summed over the letters that nothing needs later: [batch, m, i] · [batch, i, o]."""
    a, left = _summed(a, left, later | set(right))
    b, right = _summed(b, right, later | set(left))
    batch = [c for c in left if c in right and c in later]
    inner = [c for c in left if c in right and c not in later]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    size = dict(zip(left, a.shape))
    for c, n in zip(right, b.shape):
        if size.get(c, n) not in (n, 1) and n != 1:
            raise OnnxError(f"axes of {size[c]} and {n} share the letter {c!r}")
        size[c] = max(size.get(c, n), n) if 0 not in (n, size.get(c, n)) else 0

    def arranged(x: Any, letters: str, groups: list[list[str]]) -> Any:
        order = [c for group in groups for c in group]
        x = permute(x, tuple(letters.index(c) for c in order))
        shape = tuple(size[c] for c in order)
        x = x if tuple(x.shape) == shape else ops.broadcast_to(x, shape=shape)
        return x.reshape(tuple(math.prod(size[c] for c in group) for group in groups))

    y = ops.matmul(arranged(a, left, [batch, rows, inner]), arranged(b, right, [batch, inner, columns]))
    letters = "".join(batch + rows + columns)
    return y.reshape(tuple(size[c] for c in letters)), letters


@converter("Det")
def determinant(x: Any) -> Any:
    return value(np.asarray(np.linalg.det(host(x)), x.dtype))
