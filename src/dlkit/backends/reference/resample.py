"""Enlarging images. Both methods are linear in x, so the backward pass is the transposed map."""

import numpy as np

from dlkit.backends.reference._kernel import kernel


@kernel
def upsample_nearest_forward(x, scale):
    """Every pixel becomes a block of scale[0] × scale[1] equal pixels."""
    return x.repeat(scale[0], axis=1).repeat(scale[1], axis=2)


@kernel
def upsample_nearest_backward(dy, scale):
    """Every pixel receives the sum over its block."""
    N, OH, OW, C = dy.shape
    blocks = dy.reshape(N, OH // scale[0], scale[0], OW // scale[1], scale[1], C)
    return blocks.sum(axis=(2, 4))


def interpolation_matrix(output, size, align_corners, dtype):
    """A [output, size] with y = A x: the two weights with which each output pixel mixes its two neighbours.

    Output pixel i lies at i (size-1)/(output-1) if align_corners: corner pixels' centres fall on each other.
    Otherwise at (i + ½) size/output - ½: the images' outer edges do; beyond the last centre, that pixel.
    """
    i = np.arange(output)
    if align_corners:
        position = i * (size - 1) / np.maximum(output - 1, 1)
    else:
        position = np.clip((i + 0.5) * size / output - 0.5, 0, size - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, size - 1)
    A = np.zeros((output, size))
    A[i, low] += 1 - (position - low)
    A[i, high] += position - low
    return A.astype(dtype)


@kernel
def upsample_bilinear_forward(x, size, align_corners):
    """y = A x Bᵀ, with A mixing rows and B mixing columns. As in PyTorch and ONNX."""
    A = interpolation_matrix(size[0], x.shape[1], align_corners, x.dtype)
    B = interpolation_matrix(size[1], x.shape[2], align_corners, x.dtype)
    rows = np.einsum("ih,nhwc->niwc", A, x)
    return np.einsum("jw,niwc->nijc", B, rows)


@kernel
def upsample_bilinear_backward(dy, size, align_corners):
    """dx = Aᵀ dy B"""
    A = interpolation_matrix(dy.shape[1], size[0], align_corners, dy.dtype)
    B = interpolation_matrix(dy.shape[2], size[1], align_corners, dy.dtype)
    rows = np.einsum("ih,nijc->nhjc", A, dy)
    return np.einsum("jw,nhjc->nhwc", B, rows)
