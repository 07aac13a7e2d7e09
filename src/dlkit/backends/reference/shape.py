"""The same elements in another arrangement. Backward, every dy is added to where its element came from."""

import numpy as np

from dlkit.backends.reference._kernel import kernel


def reshape(x, shape):
    """x's elements, in order, as `shape`; a view where possible"""
    return x.reshape(shape)


def transpose(x, axes):
    """Axis i of the result is axis axes[i] of x; a view"""
    return x.transpose(axes)


def broadcast_to(x, shape):
    """x repeated along axes of size 1 and new leading axes; a read-only view"""
    return np.broadcast_to(x, shape)


def spread(x, shape):
    """x repeated along axes of size 1 and new leading axes, each copy in memory of its own"""
    y = np.empty(shape, x.dtype)
    y[...] = x
    return y


@kernel
def concat(xs, axis):
    """The arrays one after another along `axis`"""
    return np.concatenate(xs, axis=axis)


@kernel
def take(x, index):
    """x[index], copied"""
    return np.array(x[index], order="C")


@kernel
def take_backward(dy, index, shape):
    """dx = 0, then dx[index] += dy; an element taken twice receives twice."""
    dx = np.zeros(shape, dy.dtype)
    if any(isinstance(part, np.ndarray) for part in index):
        np.add.at(dx, index, dy)
    else:
        dx[index] = dy
    return dx


def along_axis(index, axis):
    """The position (i, j, ...) of every element of `index`, with coordinate `axis` replaced by its value."""
    grid = list(np.indices(index.shape, sparse=True))
    grid[axis] = index
    return tuple(grid)


@kernel
def gather(x, index, axis):
    """For axis 0: y[i][j] = x[index[i][j]][j]"""
    return x[along_axis(index, axis)]


@kernel
def gather_backward(dy, index, axis, shape):
    """For axis 0: dx[index[i][j]][j] += dy[i][j]"""
    return take_backward(dy, along_axis(index, axis), shape)


NUMPY_MODE = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@kernel
def pad(x, widths, mode, value):
    """Elements added before and after each axis: `value`, x mirrored (reflect), or its border (replicate)."""
    if mode == "constant":
        return np.pad(x, widths, mode="constant", constant_values=value)
    return np.pad(x, widths, mode=NUMPY_MODE[mode])


@kernel
def pad_backward(dy, widths, mode):
    """Each padded position gives its dy back to the x it was copied from; one axis at a time."""
    for axis, (before, after) in enumerate(widths):
        dy = np.moveaxis(dy, axis, 0)
        end = dy.shape[0] - after
        dx = dy[before:end].copy(order="K")  # the axes stay as they lie in memory
        if mode == "reflect":
            dx[1 : before + 1] += dy[:before][::-1]
            dx[len(dx) - 1 - after : len(dx) - 1] += dy[end:][::-1]
        elif mode == "replicate":
            dx[0] += dy[:before].sum(axis=0)
            dx[-1] += dy[end:].sum(axis=0)
        dy = np.moveaxis(dx, 0, axis)
    return dy
