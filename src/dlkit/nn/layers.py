"""Layers: each holds parameters and calls one op. Images are [N, H, W, C]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit import ops, random
from dlkit.backends import kernels
from dlkit.errors import ConfigError
from dlkit.nn.init import INITS, Fans
from dlkit.nn.module import Buffer, Module, Parameter
from dlkit.ops.activation import FROM_OUTPUT
from dlkit.ops.window import pair
from dlkit.tensor import Tensor

ACTIVATIONS = ("relu", "tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu", "softplus")


_undrawn: list[bool] = []


class undrawn:
    """In a `with` block layers get weights with a shape and no values (device "meta"): the sizes and cost of a network of any
    size are known at once, and it cannot be run on data."""

    def __enter__(self) -> None:
        _undrawn.append(True)

    def __exit__(self, *exc: object) -> None:
        _undrawn.pop()


def default_init(activation: str | None) -> str:
    """The rule that keeps variances level: He for the ReLU family, Xavier for the rest."""
    return "xavier_uniform" if activation in ("tanh", "sigmoid", "softplus") else "he_normal"


def _draw(rule: str, shape: tuple[int, ...], rng: np.random.Generator | None, fans: Fans | None = None) -> Parameter:
    if _undrawn:
        return Parameter.undrawn(shape)
    return Parameter(INITS[rule](shape, rng or random.generator(), fans).astype(np.float32))


def _zeros(n: int) -> Parameter:
    return Parameter(np.zeros(n, np.float32))


def _split_activation(activation: str | None) -> tuple[str | None, Any]:
    """(fused behind the product, op to call after it)."""
    if activation is None or activation in FROM_OUTPUT:
        return activation, None
    if activation not in ACTIVATIONS:
        raise ConfigError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
    return None, ops.OPS[activation]


class Linear(Module):
    """y = f(x w + b), x [..., in_features] -> [..., out_features].

    activation : None or one of ACTIVATIONS; init : a name in dlkit.nn.init, by default He or Xavier by activation.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str | None = None,
        init: str | None = None,
        rng: np.random.Generator | None = None,
    ):
        self.weight = _draw(init or default_init(activation), (in_features, out_features), rng)
        self.bias = _zeros(out_features) if bias else None
        self.activation = activation
        self._fused, self._after = _split_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = ops.linear(x, self.weight, self.bias, activation=self._fused)
        return self._after(y) if self._after else y

    def extra(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}" + (f", {self.activation}" if self.activation else "")


class Conv2d(Module):
    """Convolution, [N, H, W, in_channels] -> [N, OH, OW, out_channels]; filters [R, S, in_channels/groups, out_channels].

    padding : pixels, a pair, (top, bottom, left, right), "same" or "valid".
    algorithm : "auto" (by shape), "direct", "winograd" or "winograd2"; see `ops.conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str | None = None,
        init: str | None = None,
        rng: np.random.Generator | None = None,
        algorithm: str = "auto",
    ):
        kernel = pair(kernel_size, "kernel_size")
        if in_channels % groups or out_channels % groups:
            raise ConfigError(
                f"channels in (={in_channels}) and out (={out_channels}) must be divisible by groups (={groups})"
            )
        shape, taps = (*kernel, in_channels // groups, out_channels), math.prod(kernel)
        fans = taps * in_channels / groups, taps * out_channels / groups
        self.weight = _draw(init or default_init(activation), shape, rng, fans)
        self.bias = _zeros(out_channels) if bias else None
        self.geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.activation = activation
        self.algorithm = algorithm
        self._fused, self._after = _split_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = ops.conv2d(x, self.weight, self.bias, activation=self._fused, algorithm=self.algorithm, **self.geometry)
        return self._after(y) if self._after else y

    def extra(self) -> str:
        r, s, c, k = self.weight.shape
        plain = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        rest = "".join(f", {n}={v}" for n, v in self.geometry.items() if v != plain[n])
        return f"{c * self.geometry['groups']}, {k}, {r}×{s}{rest}" + (
            f", {self.activation}" if self.activation else ""
        )


class ConvTranspose2d(Module):
    """Transposed convolution, [N, H, W, in_channels] -> [N, OH, OW, out_channels]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        output_padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        init: str = "he_normal",
        rng: np.random.Generator | None = None,
    ):
        kernel = pair(kernel_size, "kernel_size")
        taps, step = math.prod(kernel), math.prod(pair(stride, "stride"))
        reached = max(taps / step, 1)  # of the filter's taps an output meets so many inputs, which lie a stride apart
        fans = reached * in_channels / groups, taps * out_channels / groups
        self.weight = _draw(init, (*kernel, out_channels // groups, in_channels), rng, fans)
        self.bias = _zeros(out_channels) if bias else None
        self.geometry = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "output_padding": output_padding,
        }

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(x, self.weight, self.bias, **self.geometry)


class BatchNorm2d(Module):
    """Batch normalisation over all axes but the last; the same class serves [N, C] and [N, H, W, C].

    momentum : weight of the newest batch in the running averages (0.1), whose variance is the unbiased one.
    activation : name of an activation, or "relu6", min(max(x, 0), 6); "relu", "relu6" and "leaky_relu" (with `slope` below
    0) are computed in the same pass.
    `layer(x, residual)` adds the residual before the activation, in the same pass too.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        activation: str | None = None,
        slope: float = 0.01,
    ):
        self.gamma = Parameter(np.ones(channels, np.float32))
        self.beta = _zeros(channels)
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))
        self.eps, self.momentum = eps, momentum
        self.activation = activation
        fused = activation if activation in ("relu", "relu6", "leaky_relu") else None
        self._after = None if activation in (None, fused) else ops.OPS[activation]
        self._options: dict[str, Any] = {"eps": eps, "activation": fused, "slope": slope}

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if not self.training:
            y = ops.batch_norm_inference(
                x, self.gamma, self.beta, self.running_mean, self.running_var, residual, **self._options
            )
        else:
            y, mean, inv_std = ops.batch_norm(x, self.gamma, self.beta, residual, **self._options)
            if x.device != "meta":
                self._update(x, mean, inv_std)
        return self._after(y) if self._after else y

    def _update(self, x: Tensor, mean: Any, inv_std: Any) -> None:
        k = kernels(x.device)
        rows = x.size // x.shape[-1]
        var = k.subtract(k.divide(1.0, k.multiply(inv_std, inv_std)), self.eps)
        for running, value, scale in ((self.running_mean, mean, 1.0), (self.running_var, var, rows / max(rows - 1, 1))):
            # a new array: the old one may be kept by an inference pass whose backward is still to come
            kept = k.multiply(running.data, 1 - self.momentum)
            running.data = k.add(kept, k.multiply(value, self.momentum * scale))

    def extra(self) -> str:
        return f"{self.gamma.shape[0]}" + (f", {self.activation}" if self.activation else "")


class BatchNorm1d(BatchNorm2d):
    """Batch normalisation of [N, C]."""


class _Norm(Module):
    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = True):
        self.gamma = Parameter(np.ones(channels, np.float32)) if affine else None
        self.beta = _zeros(channels) if affine else None
        self.channels, self.eps = channels, eps

    def extra(self) -> str:
        return str(self.channels)


class LayerNorm(_Norm):
    """Normalises each position over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.gamma, self.beta, eps=self.eps)


class InstanceNorm2d(_Norm):
    """Normalises each channel of each image over its pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.instance_norm(x, self.gamma, self.beta, eps=self.eps)


class GroupNorm(_Norm):
    """Normalises each image over its pixels and groups of channels."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__(channels, eps, affine)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.gamma, self.beta, groups=self.groups, eps=self.eps)


class Dropout(Module):
    """Zeroes elements with probability p while training and scales the rest by 1/(1-p); identity at inference.

    `rng` is where masks come from; None means the default generator at the time of the call.
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None):
        if not 0 <= p < 1:
            raise ConfigError(f"dropout: p (={p}) must be at least 0 and below 1")
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, p=self.p, rng=self.rng) if self.training and self.p else x

    def extra(self) -> str:
        return str(self.p)


class Flatten(Module):
    """[N, ...] -> [N, everything else]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class _Pool(Module):
    def __init__(self, kernel_size: int | tuple[int, int], stride: Any = None, padding: Any = 0):
        self.window = {"kernel": kernel_size, "stride": stride, "padding": padding}

    def extra(self) -> str:
        return ", ".join(f"{n}={v}" for n, v in self.window.items() if v not in (None, 0))


class MaxPool2d(_Pool):
    """The maximum of each window; stride is the window's size unless given."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, **self.window)


class AvgPool2d(_Pool):
    """The mean of each window; stride is the window's size unless given."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, **self.window)


class AdaptiveAvgPool2d(Module):
    """Average pooling to `size` output pixels."""

    def __init__(self, size: int | tuple[int, int] = 1):
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, size=self.size)

    def extra(self) -> str:
        return str(self.size)


class GlobalAvgPool2d(Module):
    """[N, H, W, C] -> [N, C], the mean over all pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, size=1).reshape(x.shape[0], x.shape[3])


class Upsample(Module):
    """Enlarges images by `scale`, mode "nearest" or "bilinear"."""

    def __init__(self, scale: int | tuple[int, int] = 2, mode: str = "nearest", align_corners: bool = False):
        if mode not in ("nearest", "bilinear"):
            raise ConfigError(f"Upsample: unknown mode {mode!r}; expected nearest or bilinear")
        self.scale, self.mode, self.align_corners = scale, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return ops.upsample_nearest(x, scale=self.scale)
        return ops.upsample_bilinear(x, scale=self.scale, align_corners=self.align_corners)

    def extra(self) -> str:
        return f"{self.scale}, {self.mode}"


class Pad2d(Module):
    """Pads height and width by (top, bottom, left, right) pixels; mode constant, reflect or replicate."""

    def __init__(self, padding: tuple[int, int, int, int], mode: str = "constant", value: float = 0.0):
        self.padding, self.mode, self.value = padding, mode, value

    def forward(self, x: Tensor) -> Tensor:
        top, bottom, left, right = self.padding
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        return ops.pad(x, widths=widths, mode=self.mode, value=self.value)


class Activation(Module):
    """An element-wise activation by name, as a layer."""

    def __init__(self, name: str, **attributes: Any):
        if name not in ACTIVATIONS:
            raise ConfigError(f"unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
        self.name, self.attributes = name, attributes

    def forward(self, x: Tensor) -> Tensor:
        return ops.OPS[self.name](x, **self.attributes)

    def extra(self) -> str:
        return ", ".join([self.name, *(f"{n}={v}" for n, v in self.attributes.items())])


class ReLU(Activation):
    def __init__(self) -> None:
        super().__init__("relu")


class Tanh(Activation):
    def __init__(self) -> None:
        super().__init__("tanh")


class Sigmoid(Activation):
    def __init__(self) -> None:
        super().__init__("sigmoid")


class LeakyReLU(Activation):
    def __init__(self, slope: float = 0.01) -> None:
        super().__init__("leaky_relu", slope=slope)


class ELU(Activation):
    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__("elu", alpha=alpha)


class GELU(Activation):
    def __init__(self) -> None:
        super().__init__("gelu")


class SiLU(Activation):
    def __init__(self) -> None:
        super().__init__("silu")


class Softplus(Activation):
    def __init__(self) -> None:
        super().__init__("softplus")


class Softmax(Module):
    """Probabilities along `axis`."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.axis)
