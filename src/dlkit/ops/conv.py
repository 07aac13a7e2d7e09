"""Convolution (cross-correlation, as the field says) and what follows from it.

The three kernels are each other's derivatives: y = conv2d(x, w) is linear in both, its input gradient is the
transposed convolution of dy, its weight gradient correlates x with dy. Each is an op, so convolutions can be
differentiated any number of times. Images [N, H, W, C], filters [R, S, C/G, K].
"""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.activation import activation_backward
from dlkit.ops.op import BadCall, Sample, op
from dlkit.ops.product import check_activation
from dlkit.ops.window import check_image, is_whole, pair, resolve_padding, window_output


def _geometry(size, kernel, stride, padding, dilation, groups) -> dict:
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    if not is_whole(groups) or groups < 1:
        raise ConfigError(f"groups (={groups}) must be a whole number of at least 1")
    return {
        "stride": stride,
        "padding": resolve_padding(padding, size, kernel, stride, dilation),
        "dilation": dilation,
        "groups": int(groups),
    }


ALGORITHMS = ("auto", "direct", "winograd", "winograd2")


def _check_algorithm(algorithm: str, kernel: tuple, geometry: dict) -> str:
    """Raises ConfigError unless `algorithm` can do this shape; where it does not fit the dtype, the direct one is used."""
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"algorithm {algorithm!r} is unknown; expected one of {', '.join(ALGORITHMS)}")
    if algorithm in ("auto", "direct"):
        return algorithm
    fits = {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
    for name, needed in fits.items():
        given = kernel if name == "kernel" else geometry[name]
        if given != needed:
            raise ConfigError(f"algorithm {algorithm!r} needs {name} {needed}, not {given}")
    return algorithm


def _check_filters(w: tuple, channels: int, groups: int) -> None:
    if len(w) != 4:
        raise ShapeError(f"w must be filters [R, S, C/groups, K]; it has shape {w}")
    if channels % groups or w[3] % groups:
        raise ShapeError(f"channels in (={channels}) and out (={w[3]}) must be divisible by groups (={groups})")
    if w[2] * groups != channels:
        raise ShapeError(f"x has {channels} channels, w of shape {w} expects {w[2] * groups} (groups={groups})")


def _cases(rng: np.random.Generator):
    """(x, w, attributes): sizes, strides, paddings, dilations and groups that exercise every path."""
    n = rng.standard_normal
    plain: dict = {}
    return [
        (n((2, 6, 5, 3)), n((3, 3, 3, 4)), plain),
        (n((1, 7, 7, 2)), n((3, 3, 2, 5)), {"padding": "same"}),
        (n((2, 8, 9, 3)), n((3, 2, 3, 2)), {"stride": 2, "padding": "same"}),
        (n((1, 9, 8, 2)), n((5, 5, 2, 3)), {"stride": (2, 3), "padding": 2}),
        (n((1, 8, 7, 2)), n((3, 3, 2, 3)), {"dilation": 2, "padding": (2, 1)}),
        (n((2, 5, 6, 4)), n((3, 3, 2, 6)), {"groups": 2, "padding": (1, 0, 2, 1)}),
        (n((1, 6, 6, 3)), n((3, 3, 1, 3)), {"groups": 3, "padding": "same"}),
        (n((1, 7, 5, 3)), n((3, 3, 1, 6)), {"groups": 3, "stride": 2, "padding": 1}),
        (n((2, 4, 4, 5)), n((1, 1, 5, 3)), plain),
        (n((1, 5, 5, 4)), n((1, 1, 4, 2)), {"stride": 2}),
        (n((1, 1, 1, 1)), n((1, 1, 1, 1)), plain),
        (n((1, 3, 3, 2)), n((3, 3, 2, 17)), {"padding": 3}),
        (n((3, 5, 6, 17)), n((3, 3, 17, 18)), {"padding": 1}),
        (n((0, 4, 4, 2)), n((3, 3, 2, 3)), plain),
    ]


@op(
    "x[N,H,W,C], w[R,S,C/G,K], b[K]? -> y[N,OH,OW,K]",
    formula="y[n,i,j,k] = f(b[k] + Σ_rsc x[n, i·stride + r·dilation - top, j·stride + s·dilation - left, c] w[r,s,c,k])",
    slope="dz = dy · f'(z); dx = conv2d_backward_input(dz, w), dw = conv2d_backward_weight(x, dz), db = Σ dz",
    source="LeCun et al. 1989; Dumoulin & Visin 2016, A guide to convolution arithmetic",
)
class conv2d:
    """2-D convolution. `algorithm` asks for one way of computing it: "direct"; "winograd" or "winograd2", F(4×4, 3×3) and
    F(2×2, 3×3), for 3×3 filters with stride 1, dilation 1 and one group; "auto" chooses by shape. It changes speed and
    rounding only, but rounding by tiles: a NaN, an infinity or a number 10^7 times as large as its neighbours reaches the
    4×4 (or 2×2) outputs of each tile that reads it, the filter's reach or not. float64 and backends without Winograd
    compute directly, whatever was asked for."""

    second = True
    kernel = "conv2d_forward"
    onnx = "Conv"

    def arguments(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, activation=None, algorithm="auto"):
        size, kernel = tuple(x.shape[1:3]), tuple(w.shape[:2])
        wrong = len(x.shape) != 4 or len(w.shape) != 4  # `shape` will say what is wrong
        if wrong:
            size, kernel = (0, 0), (0, 0)
        geometry = _geometry(size, kernel, stride, padding, dilation, groups)
        return (x, w, b), {
            **geometry,
            "activation": check_activation(activation),
            "algorithm": algorithm if wrong else _check_algorithm(algorithm, kernel, geometry),
        }

    def shape(x, w, b=None, *, stride, padding, dilation, groups, activation, algorithm="auto"):
        n, h, wd, c = check_image(x)
        _check_filters(w, c, groups)
        if b is not None and b != (w[3],):
            raise ShapeError(f"b has shape {b}, expected ({w[3]},)")
        return (n, *window_output((h, wd), w[:2], stride, padding, dilation), w[3])

    def flops(x, w, b=None, **attributes):
        return 2 * math.prod(conv2d.unit.shape(x, w, b, **attributes)) * math.prod(w[:3])

    def samples(rng):
        out = [
            Sample((x, w, None if i % 2 else rng.standard_normal(w.shape[3])), a)
            for i, (x, w, a) in enumerate(_cases(rng))
        ]
        x, w, _ = _cases(rng)[0]
        shifted = np.where(np.arange(w.shape[3]) % 2, 3.0, -3.0)  # keeps every z away from relu's kink
        return [
            *out,
            Sample((0.2 * x, 0.2 * w, shifted), {"activation": "relu", "padding": 1}),
            Sample((0.3 * x, 0.3 * w, shifted / 3), {"activation": "tanh"}),
        ]

    def errors():
        x, w = np.zeros((1, 5, 5, 3)), np.zeros((3, 3, 3, 4))
        return [
            BadCall((np.zeros((5, 5, 3)), w), {}, ShapeError, r"must be a batch of images \[N, H, W, C\]"),
            BadCall((x, np.zeros((3, 3, 2, 4))), {}, ShapeError, "x has 3 channels, w of shape .* expects 2"),
            BadCall((x, w), {"groups": 2}, ShapeError, r"must be divisible by groups \(=2\)"),
            BadCall((np.zeros((1, 2, 2, 3)), w), {}, ShapeError, "a window of 3 does not fit into 2 pixels"),
            BadCall((x, w, np.zeros(3)), {}, ShapeError, r"b has shape \(3,\), expected \(4,\)"),
            BadCall((x, w), {"stride": 0}, ConfigError, r"stride \(=0\) must be a whole number of at least 1"),
            BadCall((x, w), {"padding": "full"}, ConfigError, "padding 'full' is unknown"),
            BadCall((x, w), {"activation": "gelu"}, ConfigError, "cannot be fused"),
            BadCall(
                (x, w), {"algorithm": "fft"}, ConfigError, "algorithm 'fft' is unknown; expected one of auto, direct"
            ),
            *(
                BadCall((x, filters), {"algorithm": "winograd", **given}, ConfigError, f"'winograd' needs {needed}")
                for filters, given, needed in (
                    (np.zeros((5, 5, 3, 4)), {}, r"kernel \(3, 3\), not \(5, 5\)"),
                    (w, {"stride": 2}, r"stride \(1, 1\), not \(2, 2\)"),
                    (w, {"dilation": (1, 2)}, r"dilation \(1, 1\), not \(1, 2\)"),
                    (np.zeros((3, 3, 1, 3)), {"groups": 3}, "groups 1, not 3"),
                )
            ),
        ]

    def forward(k, x, w, b, *, stride, padding, dilation, groups, activation, algorithm="auto"):
        y = k.conv2d_forward(x, w, b, stride, padding, dilation, groups, activation, algorithm)
        return y, (x, w, y if activation else None, activation, (stride, padding, dilation, groups, algorithm))

    def backward(k, saved, dy, needs):
        x, w, y, activation, how = saved
        dz = activation_backward(k, dy, y, activation)
        return (
            k.conv2d_backward_input(dz, w, tuple(x.shape[1:3]), *how) if needs[0] else None,
            k.conv2d_backward_weight(x, dz, tuple(w.shape[:2]), *how) if needs[1] else None,
            k.sum(dz, (0, 1, 2), False) if needs[2] else None,
        )


def _check_output(dy: tuple, size, kernel, stride, padding, dilation) -> None:
    expected = window_output(size, kernel, stride, padding, dilation)
    if tuple(dy[1:3]) != expected:
        raise ShapeError(
            f"dy has {dy[1]}×{dy[2]} pixels, the convolution of {size[0]}×{size[1]} gives {expected[0]}×{expected[1]}"
        )


def _gradient_cases(rng: np.random.Generator):
    for x, w, attributes in _cases(rng):
        size, kernel = x.shape[1:3], w.shape[:2]
        geometry = _geometry(size, kernel, **{"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **attributes})
        out = window_output(size, kernel, geometry["stride"], geometry["padding"], geometry["dilation"])
        yield x, w, rng.standard_normal((x.shape[0], *out, w.shape[3])), geometry


@op(
    "dy[N,OH,OW,K], w[R,S,C/G,K] -> dx[N,H,W,C]",
    formula="dx = the transpose of x ↦ conv2d(x, w), applied to dy",
    slope="d(dy) = conv2d(g, w), dw = conv2d_backward_weight(g, dy) for upstream g",
)
class conv2d_backward_input:
    second = True

    def shape(dy, w, size, stride, padding, dilation, groups, algorithm="auto"):
        n = check_image(dy, "dy")[0]
        channels = w[2] * groups
        _check_filters(w, channels, groups)
        if dy[3] != w[3]:
            raise ShapeError(f"dy has {dy[3]} channels, w of shape {w} makes {w[3]}")
        _check_output(dy, size, w[:2], stride, padding, dilation)
        return (n, *size, channels)

    def flops(dy, w, **attributes):
        return 2 * math.prod(dy) * math.prod(w[:3])

    def samples(rng):
        return [Sample((dy, w), {"size": x.shape[1:3], **g}) for x, w, dy, g in _gradient_cases(rng)]

    def errors():
        geometry = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
        return [
            BadCall(
                (np.zeros((1, 3, 3, 4)), np.zeros((3, 3, 2, 4))),
                {"size": (7, 7), **geometry},
                ShapeError,
                "dy has 3×3 pixels, the convolution of 7×7 gives 5×5",
            )
        ]

    def forward(k, dy, w, *, size, stride, padding, dilation, groups, algorithm="auto"):
        return (
            k.conv2d_backward_input(dy, w, size, stride, padding, dilation, groups, algorithm),
            (dy, w, (stride, padding, dilation, groups), algorithm),
        )

    def backward(k, saved, g, needs):
        dy, w, geometry, algorithm = saved
        return (
            k.conv2d_forward(g, w, None, *geometry, None, algorithm) if needs[0] else None,
            k.conv2d_backward_weight(g, dy, tuple(w.shape[:2]), *geometry, algorithm) if needs[1] else None,
        )


@op(
    "x[N,H,W,C], dy[N,OH,OW,K] -> dw[R,S,C/G,K]",
    formula="dw[r,s,c,k] = Σ_nij x[n, window(i,r), window(j,s), c] dy[n,i,j,k]",
    slope="dx = conv2d_backward_input(dy, g), d(dy) = conv2d(x, g) for upstream g",
)
class conv2d_backward_weight:
    second = True

    def shape(x, dy, kernel, stride, padding, dilation, groups, algorithm="auto"):
        _, h, w, c = check_image(x)
        _check_output(check_image(dy, "dy"), (h, w), kernel, stride, padding, dilation)
        if x[0] != dy[0]:
            raise ShapeError(f"x has {x[0]} images, dy {dy[0]}")
        return (*kernel, c // groups, dy[3])

    def flops(x, dy, kernel, groups, **attributes):
        return 2 * math.prod(dy) * math.prod(kernel) * x[3] // groups

    def samples(rng):
        return [Sample((x, dy), {"kernel": w.shape[:2], **g}) for x, w, dy, g in _gradient_cases(rng)]

    def errors():
        geometry = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
        return [
            BadCall(
                (np.zeros((2, 5, 5, 3)), np.zeros((1, 3, 3, 4))),
                {"kernel": (3, 3), **geometry},
                ShapeError,
                "x has 2 images, dy 1",
            )
        ]

    def forward(k, x, dy, *, kernel, stride, padding, dilation, groups, algorithm="auto"):
        return (
            k.conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups, algorithm),
            (x, dy, (stride, padding, dilation, groups), algorithm),
        )

    def backward(k, saved, g, needs):
        x, dy, geometry, algorithm = saved
        return (
            k.conv2d_backward_input(dy, g, tuple(x.shape[1:3]), *geometry, algorithm) if needs[0] else None,
            k.conv2d_forward(x, g, None, *geometry, None, algorithm) if needs[1] else None,
        )


@op(
    "x[N,H,W,K], w[R,S,C/G,K], b[C]? -> y[N,OH,OW,C]",
    formula="y = conv2d_backward_input(x, w) + b: every input pixel paints a filter-sized patch",
    slope="dx = conv2d(dy, w), dw = conv2d_backward_weight(dy, x), db = Σ dy",
    source="Zeiler et al. 2010, Deconvolutional networks; Dumoulin & Visin 2016, section 4",
)
class conv_transpose2d:
    """Upsampling convolution. Filters are those of the convolution it transposes: [R, S, C/groups, K], K channels in.

    Output size: (H - 1)·stride - top - bottom + dilation·(R - 1) + 1 + output_padding.
    """

    second = True
    onnx = "ConvTranspose"

    def arguments(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, output_padding=0):
        if len(x.shape) != 4 or len(w.shape) != 4:
            raise ShapeError(
                f"conv_transpose2d: x [N, H, W, K] and w [R, S, C/groups, K] have shapes {x.shape}, {w.shape}"
            )
        if padding == "same":
            raise ConfigError("conv_transpose2d: padding 'same' is ambiguous here; give pixels")
        geometry = _geometry((0, 0), w.shape[:2], stride, padding, dilation, groups)
        extra = pair(output_padding, "output_padding", 0)
        top, bottom, left, right = geometry["padding"]
        (sh, sw), (dh, dw) = geometry["stride"], geometry["dilation"]
        if extra[0] >= max(sh, dh) or extra[1] >= max(sw, dw):
            raise ConfigError(f"conv_transpose2d: output_padding (={extra}) must be smaller than stride or dilation")
        size = (
            (x.shape[1] - 1) * sh - top - bottom + dh * (w.shape[0] - 1) + 1 + extra[0],
            (x.shape[2] - 1) * sw - left - right + dw * (w.shape[1] - 1) + 1 + extra[1],
        )
        return (x, w, b), {"size": size, **geometry}

    def shape(x, w, b=None, *, size, stride, padding, dilation, groups):
        if b is not None and b != (w[2] * groups,):
            raise ShapeError(f"b has shape {b}, expected ({w[2] * groups},)")
        if min(size) < 1:
            raise ShapeError(f"an output of {size[0]}×{size[1]} pixels is empty; the padding (={padding}) is too large")
        return conv2d_backward_input.unit.shape(x, w, size, stride, padding, dilation, groups)

    def flops(x, w, b=None, **attributes):
        return 2 * math.prod(x) * math.prod(w[:3])

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((2, 3, 4, 3)), n((3, 3, 2, 3)), n(2))),
            Sample((n((1, 3, 3, 4)), n((2, 2, 3, 4)), None), {"stride": 2}),
            Sample((n((1, 4, 3, 2)), n((3, 3, 3, 2)), n(3)), {"stride": 2, "padding": 1, "output_padding": 1}),
            Sample((n((1, 4, 4, 4)), n((3, 3, 3, 4)), n(6)), {"groups": 2, "dilation": 2, "padding": 1}),
        ]

    def errors():
        x = np.zeros((1, 3, 3, 4))
        return [
            BadCall((x, np.zeros((3, 3, 2, 5))), {}, ShapeError, "dy has 4 channels|x has 4 channels"),
            BadCall((x, np.zeros((3, 3, 2, 4))), {"padding": 4}, ShapeError, "is empty"),
            BadCall((x, np.zeros((3, 3, 2, 4))), {"padding": "same"}, ConfigError, "ambiguous"),
        ]

    def forward(k, x, w, b, *, size, stride, padding, dilation, groups):
        y = k.conv2d_backward_input(x, w, size, stride, padding, dilation, groups)
        return y if b is None else k.add(y, b), (x, w, stride, padding, dilation, groups)

    def backward(k, saved, dy, needs):
        x, w, *geometry = saved
        return (
            k.conv2d_forward(dy, w, None, *geometry, None) if needs[0] else None,
            k.conv2d_backward_weight(dy, x, tuple(w.shape[:2]), *geometry) if needs[1] else None,
            k.sum(dy, (0, 1, 2), False) if needs[2] else None,
        )
