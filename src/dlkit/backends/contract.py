"""The waist between operations and machines: every kernel's name, signature and meaning, written down once.

A backend is a module of plain functions with these names and signatures: arrays in, arrays out. It may offer any
subset; a kernel that cannot take a call (its dtype, its memory layout) returns `Decline("why")` and the next backend
of the same device is asked.

Rules for every kernel
  * inputs are never modified, except by the `*_step`, `add_into` and `scale_into` kernels, which say so;
  * float kernels take float32 and float64 and return the dtype they were given;
  * `x`, `w`, `dy`, ... are the *device's* arrays: only `.shape` and `.dtype` may be read off them from outside;
  * outputs are new arrays, C-contiguous unless the kernel is a view (`reshape`, `transpose`, `broadcast_to`).

Letters: N batch, H W height and width, C channels in, K channels out, R S filter height and width, G groups,
OH OW output height and width, M rows, I O features in and out. Images are NHWC, filters [R, S, C/G, K].
`padding` is (top, bottom, left, right); `kernel`, `stride`, `dilation` are (vertical, horizontal).
`activation` is None or the name of an activation whose slope follows from its output ("relu", "tanh", "sigmoid").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Array = Any
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
Axes = tuple[int, ...]


class Decline:
    """What a kernel returns instead of a result when it does not take this call; the next backend is asked."""

    __slots__ = ("why",)

    def __init__(self, why: str):
        self.why = why


class Kernels(Protocol):
    # -- transfer and creation -----------------------------------------------------------------------------
    def from_host(self, x) -> Array: ...  # numpy array -> device array (may share memory)
    def to_host(self, x: Array): ...  # device array -> numpy array (may share memory)
    def full(self, shape: tuple, value: float, dtype) -> Array: ...
    def copy(self, x: Array) -> Array: ...
    def cast(self, x: Array, dtype) -> Array: ...

    # -- element-wise, with broadcasting; one operand may be a Python number -----------------------------------
    def add(self, a: Array, b: Array) -> Array: ...
    def subtract(self, a: Array, b: Array) -> Array: ...
    def multiply(self, a: Array, b: Array) -> Array: ...
    def divide(self, a: Array, b: Array) -> Array: ...
    def power(self, a: Array, b: Array) -> Array: ...
    def maximum(self, a: Array, b: Array) -> Array: ...
    def minimum(self, a: Array, b: Array) -> Array: ...
    def greater(self, a: Array, b: Array) -> Array: ...  # bool
    def greater_equal(self, a: Array, b: Array) -> Array: ...  # bool
    def equal(self, a: Array, b: Array) -> Array: ...  # bool
    def where(self, mask: Array, a: Array, b: Array) -> Array: ...
    def negative(self, x: Array) -> Array: ...
    def exp(self, x: Array) -> Array: ...
    def log(self, x: Array) -> Array: ...
    def sqrt(self, x: Array) -> Array: ...
    def sin(self, x: Array) -> Array: ...
    def cos(self, x: Array) -> Array: ...
    def erf(self, x: Array) -> Array: ...
    def abs(self, x: Array) -> Array: ...
    def sign(self, x: Array) -> Array: ...
    def clip(self, x: Array, low: float, high: float) -> Array: ...

    # -- activations: y = f(x); dx from dy and what the slope needs: y, or x where y does not determine it --------
    def sigmoid(self, x: Array) -> Array: ...
    def sigmoid_backward(self, dy: Array, y: Array) -> Array: ...
    def tanh(self, x: Array) -> Array: ...
    def tanh_backward(self, dy: Array, y: Array) -> Array: ...
    def relu(self, x: Array) -> Array: ...
    def relu_backward(self, dy: Array, y: Array) -> Array: ...
    def leaky_relu(self, x: Array, slope: float) -> Array: ...
    def leaky_relu_backward(self, dy: Array, x: Array, slope: float) -> Array: ...
    def elu(self, x: Array, alpha: float) -> Array: ...
    def elu_backward(self, dy: Array, x: Array, alpha: float) -> Array: ...
    def gelu(self, x: Array) -> Array: ...
    def gelu_backward(self, dy: Array, x: Array) -> Array: ...
    def silu(self, x: Array) -> Array: ...
    def silu_backward(self, dy: Array, x: Array) -> Array: ...
    def softplus(self, x: Array) -> Array: ...
    def softplus_backward(self, dy: Array, x: Array) -> Array: ...
    def softmax(self, x: Array, axis: int) -> Array: ...
    def softmax_backward(self, dy: Array, y: Array, axis: int) -> Array: ...
    def log_softmax(self, x: Array, axis: int) -> Array: ...
    def log_softmax_backward(self, dy: Array, y: Array, axis: int) -> Array: ...

    # -- reductions ------------------------------------------------------------------------------------------
    def sum(self, x: Array, axes: Axes, keepdims: bool) -> Array: ...
    def max(self, x: Array, axes: Axes, keepdims: bool) -> Array: ...
    def argmax(self, x: Array, axis: int) -> Array: ...  # int64
    def all_finite(self, x: Array) -> bool: ...
    def sum_of_squares(self, x: Array) -> float: ...  # accumulated in float64

    # -- shape -------------------------------------------------------------------------------------------------
    def reshape(self, x: Array, shape: tuple) -> Array: ...  # view where possible
    def transpose(self, x: Array, axes: Axes) -> Array: ...  # view
    def broadcast_to(self, x: Array, shape: tuple) -> Array: ...  # view
    def spread(self, x: Array, shape: tuple) -> Array: ...  # the same in memory of its own
    def concat(self, xs: Sequence[Array], axis: int) -> Array: ...
    def take(self, x: Array, index: tuple) -> Array: ...  # x[index]: ints, slices, None, host integer arrays
    def take_backward(self, dy: Array, index: tuple, shape: tuple) -> Array: ...  # zeros, then += dy at index
    def gather(self, x: Array, index: Array, axis: int) -> Array: ...  # y[i][j] = x[index[i][j]][j] for axis 0
    def gather_backward(self, dy: Array, index: Array, axis: int, shape: tuple) -> Array: ...
    def pad(self, x: Array, widths: tuple[Pair, ...], mode: str, value: float) -> Array: ...
    def pad_backward(self, dy: Array, widths: tuple[Pair, ...], mode: str) -> Array: ...

    # mode: "constant", "reflect" (border not repeated) or "replicate" (border repeated)

    # -- products ------------------------------------------------------------------------------------------------
    def matmul(self, a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array: ...
    #   a [..., M, I] (or [..., I, M] if transpose_a), b [..., I, O] (or [..., O, I]) -> [..., M, O]
    #   2-D both, or leading axes that broadcast
    def linear_forward(self, x: Array, w: Array, b: Array | None, activation: str | None) -> Array: ...
    #   x [M, I], w [I, O], b [O] -> activation(x w + b) [M, O]
    def conv2d_forward(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        activation: str | None,
        algorithm: str = "auto",
    ) -> Array: ...
    #   x [N, H, W, C], w [R, S, C/G, K], b [K] -> [N, OH, OW, K]
    #   algorithm: "auto", "direct", or for 3×3 filters with stride 1, dilation 1 and one group "winograd" (F(4×4, 3×3)) or
    #   "winograd2" (F(2×2, 3×3)): a wish, which changes speed and rounding (Winograd's is relative to the largest number
    #   of a tile) and nothing else; a backend that has one algorithm uses that, and float64 is always direct
    def conv2d_backward_input(
        self,
        dy: Array,
        w: Array,
        size: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        algorithm: str = "auto",
    ) -> Array: ...
    #   dy [N, OH, OW, K], w [R, S, C/G, K], size (H, W) -> dx [N, H, W, C]
    def conv2d_backward_weight(
        self,
        x: Array,
        dy: Array,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        algorithm: str = "auto",
    ) -> Array: ...

    #   -> dw [R, S, C/G, K]
    def im2col(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array: ...
    #   x [N, H, W, C] -> [N, OH, OW, R*S*C]: the inputs under each position of the filter, 0 beyond the border;
    #   the matrix of the textbook's convolution y = im2col(x) w, which `conv2d_forward` need not make
    def col2im(
        self, columns: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array: ...

    #   its transpose: columns [N, OH, OW, R*S*C], size (H, W) -> x [N, H, W, C], each pixel the sum of its copies

    # -- pooling: windows that reach over the border see only the pixels inside ------------------------------------
    def max_pool2d_forward(self, x: Array, kernel: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array]: ...
    #   x [N, H, W, C] -> y [N, OH, OW, C], where: uint8 [N, OH, OW, C], position r*S + s of the first maximum in
    #   the window (uint16 if R*S > 256)
    def max_pool2d_backward(
        self, dy: Array, where: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding
    ) -> Array: ...
    def avg_pool2d_forward(self, x: Array, kernel: Pair, stride: Pair, padding: Padding) -> Array: ...
    #   the mean over the window's pixels inside the image
    def avg_pool2d_backward(self, dy: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array: ...
    def adaptive_avg_pool2d_forward(self, x: Array, size: Pair) -> Array: ...
    #   output pixel i averages rows floor(i*H/OH) ... ceil((i+1)*H/OH)-1, columns likewise
    def adaptive_avg_pool2d_backward(self, dy: Array, size: Pair) -> Array: ...  # size: the input's (H, W)

    # -- normalisation -----------------------------------------------------------------------------------------------
    def batch_norm_forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        residual: Array | None,
        eps: float,
        activation: str | None,
        slope: float,
    ) -> tuple[Array, Array, Array]: ...
    #   x, residual [M, C] -> y = activation(z) [M, C], z = gamma * (x - mean) * inv_std + beta + residual,
    #   mean [C], inv_std [C]; biased variance, inv_std = 1 / sqrt(var + eps);
    #   activation None, "relu", "relu6" or "leaky_relu", whose slope below 0 is `slope` >= 0
    def batch_norm_backward(
        self,
        dy: Array,
        x: Array,
        y: Array | None,
        gamma: Array,
        beta: Array,
        mean: Array,
        inv_std: Array,
        activation: str | None,
        slope: float,
        residual: bool,
    ) -> tuple[Array, Array, Array, Array | None]: ...
    #   -> dx [M, C], dgamma [C], dbeta [C], dz [M, C] if there was a residual (it may be dy itself), else None;
    #   y is read only where there are both a residual and an activation
    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        residual: Array | None,
        eps: float,
        activation: str | None,
        slope: float,
    ) -> Array: ...
    def standardize_forward(self, x: Array, axes: Axes, eps: float) -> tuple[Array, Array]: ...
    #   x̂ = (x - mean) * inv_std over `axes` -> x̂, inv_std (axes kept as 1): layer, group and instance norm
    def standardize_backward(self, dy: Array, x_hat: Array, inv_std: Array, axes: Axes) -> Array: ...

    # -- resampling: x [N, H, W, C] ----------------------------------------------------------------------------------
    def upsample_nearest_forward(self, x: Array, scale: Pair) -> Array: ...
    def upsample_nearest_backward(self, dy: Array, scale: Pair) -> Array: ...
    def upsample_bilinear_forward(self, x: Array, size: Pair, align_corners: bool) -> Array: ...
    def upsample_bilinear_backward(self, dy: Array, size: Pair, align_corners: bool) -> Array: ...  # input's size

    # -- loss ----------------------------------------------------------------------------------------------------------
    def cross_entropy_forward(
        self, logits: Array, labels: Array, weights: Array | None, smoothing: float
    ) -> tuple[Array, Array]: ...
    #   logits [M, K], labels int64 [M], weights [K] -> loss [M], p = softmax(logits) [M, K]
    #   with q = (1-smoothing)*onehot + smoothing/K:  loss[m] = -sum_k weights[k] q[m,k] log p[m,k]
    def cross_entropy_backward(
        self, dloss: Array, p: Array, labels: Array, weights: Array | None, smoothing: float
    ) -> Array: ...

    #   -> dlogits [M, K]

    # -- optimiser steps, in place on the parameters ps and their state; lists with one entry for each parameter -------
    def sgd_step(
        self,
        ps: list[Array],
        gs: list[Array],
        velocities: list[Array] | None,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decays: list[float],
    ) -> None: ...
    #   g += weight_decay p;  v = momentum v + g;  p -= lr (g + momentum v if nesterov else v)
    def rmsprop_step(
        self,
        ps: list[Array],
        gs: list[Array],
        squares: list[Array],
        velocities: list[Array] | None,
        lr: float,
        rho: float,
        eps: float,
        momentum: float,
        weight_decays: list[float],
    ) -> None: ...
    #   s = rho s + (1-rho) g²;  step = g / (sqrt(s) + eps);  v = momentum v + step;  p -= lr v
    def adam_step(
        self,
        ps: list[Array],
        gs: list[Array],
        ms: list[Array],
        vs: list[Array],
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decays: list[float],
        decoupled: bool,
        t: int,
    ) -> None: ...
    #   Kingma & Ba 2015, algorithm 1, step t = 1, 2, ...; decoupled: p -= lr weight_decay p (AdamW)
    def add_into(self, x: Array, y: Array) -> None: ...  # x += y
    def scale_into(self, x: Array, factor: float) -> None: ...  # x *= factor


NAMES: tuple[str, ...] = tuple(name for name in vars(Kernels) if not name.startswith("_"))
