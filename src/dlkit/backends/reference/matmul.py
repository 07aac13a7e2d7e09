"""Products of matrices."""

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.activation import activate


@kernel
def matmul(a, b, transpose_a=False, transpose_b=False):
    """y[..., m, o] = Σᵢ a[..., m, i] b[..., i, o]"""
    if transpose_a:
        a = a.swapaxes(-1, -2)
    if transpose_b:
        b = b.swapaxes(-1, -2)
    return a @ b


@kernel
def linear_forward(x, w, b, activation):
    """f(x w + b): x [M, I], w [I, O], b [O] -> [M, O]"""
    y = x @ w
    if b is not None:
        y = y + b
    return activate(y, activation)
