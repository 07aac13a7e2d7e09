"""Pooling: one number from each window of each channel, from the window's pixels inside the image.

The windows are the columns of `im2col`; the backward pass is `col2im` of what each of their pixels receives.
"""

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.conv import col2im, im2col

DENSE = (1, 1)  # pooling windows have no dilation


def windows(x, kernel, stride, padding):
    """x [N, H, W, C] -> its windows [N, OH, OW, R*S, C]; which pixels are inside [1, OH, OW, R*S, 1]."""
    _, H, W, C = x.shape
    columns = im2col(x, kernel, stride, padding, DENSE)
    inside = im2col(np.ones((1, H, W, 1), bool), kernel, stride, padding, DENSE)
    return columns.reshape(*columns.shape[:3], kernel[0] * kernel[1], C), inside[..., None]


@kernel
def max_pool2d_forward(x, kernel, stride, padding):
    """The maximum and where it first stands, row by row; a NaN in the window wins. Ranzato et al. 2007."""
    pixels, inside = windows(x, kernel, stride, padding)
    y = np.where(inside, pixels, -np.inf).max(axis=3)
    is_maximum = inside & ((pixels == y[:, :, :, None]) | np.isnan(pixels))
    where = is_maximum.argmax(axis=3)  # the first True
    return y, where.astype(np.uint8 if kernel[0] * kernel[1] <= 256 else np.uint16)


@kernel
def max_pool2d_backward(dy, where, size, kernel, stride, padding):
    """The maximum receives all of dy, the other pixels of the window nothing."""
    (N, OH, OW, C), (R, S) = dy.shape, kernel
    position = np.arange(R * S).reshape(R * S, 1)
    dpixels = np.where(position == where[:, :, :, None], dy[:, :, :, None], 0)
    return col2im(dpixels.reshape(N, OH, OW, R * S * C), size, kernel, stride, padding, DENSE)


@kernel
def avg_pool2d_forward(x, kernel, stride, padding):
    """The mean of the window's pixels inside the image. LeCun et al. 1998."""
    pixels, inside = windows(x, kernel, stride, padding)
    return pixels.sum(axis=3) / inside.sum(axis=3).astype(x.dtype)  # pixels outside are 0


@kernel
def avg_pool2d_backward(dy, size, kernel, stride, padding):
    """Each of the window's n pixels inside receives dy / n."""
    (N, OH, OW, C), (R, S) = dy.shape, kernel
    inside = im2col(np.ones((1, *size, 1), dy.dtype), kernel, stride, padding, DENSE)
    share = dy / inside.sum(axis=3, keepdims=True)
    dpixels = np.broadcast_to(share[:, :, :, None], (N, OH, OW, R * S, C))
    return col2im(dpixels.reshape(N, OH, OW, R * S * C), size, kernel, stride, padding, DENSE)


def region(i, size, output):
    """What output pixel i averages: pixels floor(i size/output) ... ceil((i+1) size/output) - 1."""
    return slice(i * size // output, -(-(i + 1) * size // output))


@kernel
def adaptive_avg_pool2d_forward(x, size):
    """The mean over H/OH × W/OW pixels, borders rounded outwards; size (1, 1) is global average pooling."""
    (N, H, W, C), (OH, OW) = x.shape, size
    y = np.empty((N, OH, OW, C), x.dtype)
    for i in range(OH):
        for j in range(OW):
            y[:, i, j] = x[:, region(i, H, OH), region(j, W, OW)].mean(axis=(1, 2))
    return y


@kernel
def adaptive_avg_pool2d_backward(dy, size):
    """Each of the region's n pixels receives dy / n; regions may overlap."""
    (N, OH, OW, C), (H, W) = dy.shape, size
    dx = np.zeros((N, H, W, C), dy.dtype)
    for i in range(OH):
        for j in range(OW):
            pixels = dx[:, region(i, H, OH), region(j, W, OW)]
            pixels += dy[:, i, j, None, None] / (pixels.shape[1] * pixels.shape[2])
    return dx
