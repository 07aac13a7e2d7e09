"""What every op means, once more: loops written from the formulas, in float64, called as a user calls the op.

Imports NumPy and math only and shares nothing with what it judges. `y = f(x)` of one element is `each(f, x)`;
images are visited pixel by pixel. Slow, and meant to be.
"""

import builtins
import math

import numpy as np


def each(f, *xs, dtype=np.float64):
    """f of one element of each input, with broadcasting."""
    xs = np.broadcast_arrays(*xs)
    y = np.empty(xs[0].shape, dtype)
    for i in np.ndindex(*y.shape):
        y[i] = f(*(x[i] for x in xs))
    return y


def total(values):
    return math.fsum(np.ravel(values))


def two(n):
    return (n, n) if isinstance(n, int) else tuple(n)


# -- arithmetic --------------------------------------------------------------------------------------------


def add(a, b):
    return each(lambda a, b: a + b, a, b)


def subtract(a, b):
    return each(lambda a, b: a - b, a, b)


def multiply(a, b):
    return each(lambda a, b: a * b, a, b)


def divide(a, b):
    return each(lambda a, b: a / b, a, b)


def power(a, b):
    return each(math.pow, a, b)


def maximum(a, b):
    return each(lambda a, b: a if a > b else b, a, b)


def minimum(a, b):
    return each(lambda a, b: a if a < b else b, a, b)


def greater(a, b):
    return each(lambda a, b: a > b, a, b, dtype=bool)


def greater_equal(a, b):
    return each(lambda a, b: not a < b, a, b, dtype=bool)


def equal(a, b):
    return each(lambda a, b: not (a < b or a > b), a, b, dtype=bool)


def where(mask, a, b):
    return each(lambda m, a, b: a if m else b, mask, a, b)


def negative(x):
    return each(lambda x: 0.0 - x, x)


def exp(x):
    return each(math.exp, x)


def log(x):
    return each(math.log, x)


def sqrt(x):
    return each(math.sqrt, x)


def sin(x):
    return each(math.sin, x)


def cos(x):
    return each(math.cos, x)


def erf(x):
    return each(math.erf, x)


def abs(x):
    return each(math.fabs, x)


def sign(x):
    return each(lambda x: 1.0 if x > 0 else -1.0 if x < 0 else 0.0, x)


def clip(x, low, high):
    return each(lambda x: low if x < low else high if x > high else x, x)


def cast(x, dtype):
    return np.array(x, dtype=dtype)


# -- activations -------------------------------------------------------------------------------------------


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def sigmoid(x):
    return each(logistic, x)


def tanh(x):
    return each(lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)), x)


def relu(x):
    return each(lambda x: x if x > 0 else 0.0, x)


def leaky_relu(x, slope=0.01):
    return each(lambda x: x if x > 0 else slope * x, x)


def elu(x, alpha=1.0):
    return each(lambda x: x if x > 0 else alpha * (math.exp(x) - 1), x)


def gelu(x):
    return each(lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))), x)


def silu(x):
    return each(lambda x: x * logistic(x), x)


def softplus(x):
    return each(lambda x: math.log(1 + math.exp(x)) if x < 30 else x + math.exp(-x), x)


ACTIVATION = {None: lambda z: z, "relu": relu, "tanh": tanh, "sigmoid": sigmoid}


def log_sum_exp(x):
    top = builtins.max(x)
    return top + math.log(math.fsum(math.exp(v - top) for v in x))


def along(f, x, axis):
    """f, of a list of numbers to a list, on every line of x along `axis`."""
    y = np.array(x, dtype=np.float64)
    lines = np.moveaxis(y, axis, -1)
    for i in np.ndindex(*lines.shape[:-1]):
        lines[i] = f(list(lines[i]))
    return y


def log_softmax(x, axis=-1):
    return along(lambda line: [v - log_sum_exp(line) for v in line], x, axis)


def softmax(x, axis=-1):
    return along(lambda line: [math.exp(v - log_sum_exp(line)) for v in line], x, axis)


# -- products ----------------------------------------------------------------------------------------------


def product(a, b):
    y = np.zeros((a.shape[0], b.shape[1]))
    for m in range(a.shape[0]):
        for o in range(b.shape[1]):
            y[m, o] = math.fsum(a[m, i] * b[i, o] for i in range(a.shape[1]))
    return y


def matmul(a, b, transpose_a=False, transpose_b=False):
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    m, o = a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1]
    y = np.zeros((*lead, m, o))
    for i in np.ndindex(*lead):
        y[i] = product(a[i].T if transpose_a else a[i], b[i].T if transpose_b else b[i])
    return y


def linear(x, w, b=None, activation=None):
    y = np.zeros((*x.shape[:-1], w.shape[1]))
    for i in np.ndindex(*x.shape[:-1]):
        for o in range(w.shape[1]):
            y[i][o] = math.fsum(x[i][j] * w[j, o] for j in range(w.shape[0])) + (0.0 if b is None else b[o])
    return ACTIVATION[activation](y)


# -- convolution -------------------------------------------------------------------------------------------


def border(padding, size, kernel, stride, dilation=(1, 1)):
    """(top, bottom, left, right); "same": as many output pixels as strides fit, the odd pixel behind."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        four = []
        for n, r, s, d in zip(size, kernel, stride, dilation):
            outputs = math.ceil(n / s)
            short = builtins.max(0, (outputs - 1) * s + (r - 1) * d + 1 - n)
            four += [short // 2, short - short // 2]
        return tuple(four)
    if isinstance(padding, int):
        return (padding,) * 4
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    return tuple(padding)


def positions(n, r, s, d, before, after):
    """How many windows of r pixels, d apart, start at 0, s, 2s, ... in n + before + after pixels."""
    count = 0
    while count * s + (r - 1) * d < n + before + after:
        count += 1
    return count


def taps(x_shape, w_shape, y_size, stride, padding, dilation, groups):
    """Every (input position, filter position, output position, channels in, channels out) that meet."""
    (N, H, W, _), (R, S, CG, K) = x_shape, w_shape
    for n in range(N):
        for i in range(y_size[0]):
            for j in range(y_size[1]):
                for r in range(R):
                    for s in range(S):
                        h = i * stride[0] + r * dilation[0] - padding[0]
                        v = j * stride[1] + s * dilation[1] - padding[2]
                        if 0 <= h < H and 0 <= v < W:
                            for g in range(groups):
                                yield (
                                    (n, h, v, slice(g * CG, (g + 1) * CG)),
                                    (r, s, slice(None), slice(g * K // groups, (g + 1) * K // groups)),
                                    (n, i, j, slice(g * K // groups, (g + 1) * K // groups)),
                                )


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, activation=None):
    stride, dilation = two(stride), two(dilation)
    padding = border(padding, x.shape[1:3], w.shape[:2], stride, dilation)
    size = tuple(
        positions(x.shape[1 + i], w.shape[i], stride[i], dilation[i], *padding[2 * i : 2 * i + 2]) for i in (0, 1)
    )
    y = np.zeros((x.shape[0], *size, w.shape[3])) + (0.0 if b is None else b)
    for at_x, at_w, at_y in taps(x.shape, w.shape, size, stride, padding, dilation, groups):
        y[at_y] += x[at_x] @ w[at_w]
    return ACTIVATION[activation](y)


def conv2d_backward_input(dy, w, size, stride, padding, dilation, groups):
    dx = np.zeros((dy.shape[0], *size, w.shape[2] * groups))
    for at_x, at_w, at_y in taps(dx.shape, w.shape, dy.shape[1:3], stride, padding, dilation, groups):
        dx[at_x] += w[at_w] @ dy[at_y]
    return dx


def conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups):
    dw = np.zeros((*kernel, x.shape[3] // groups, dy.shape[3]))
    for at_x, at_w, at_y in taps(x.shape, dw.shape, dy.shape[1:3], stride, padding, dilation, groups):
        dw[at_w] += np.outer(x[at_x], dy[at_y])
    return dw


def conv_transpose2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, output_padding=0):
    """Every input pixel paints x·w on a canvas; the border is cut off, output_padding added far behind."""
    (sh, sw), (dh, dw), extra = two(stride), two(dilation), two(output_padding)
    top, bottom, left, right = border(padding, None, None, None)
    (N, H, W, K), (R, S, CG, _) = x.shape, w.shape
    height, width = (H - 1) * sh + (R - 1) * dh + 1 + extra[0], (W - 1) * sw + (S - 1) * dw + 1 + extra[1]
    canvas = np.zeros((N, height, width, CG * groups))
    for n, h, v, r, s, k, c in np.ndindex(N, H, W, R, S, K, CG):
        group = k // (K // groups)
        canvas[n, h * sh + r * dh, v * sw + s * dw, group * CG + c] += x[n, h, v, k] * w[r, s, c, k]
    y = canvas[:, top : canvas.shape[1] - bottom, left : canvas.shape[2] - right]
    return y if b is None else y + b


# -- dropout and losses ------------------------------------------------------------------------------------


def dropout(x, mask):
    return each(lambda x, m: x * m, x, mask)


def reduced(losses, reduction, count=None):
    if reduction == "none":
        return losses
    return np.array(total(losses) / ((count or losses.size) if reduction == "mean" else 1))


def mse(x, t, reduction="mean"):
    return reduced(each(lambda x, t: (x - t) ** 2, x, t), reduction)


def l1(x, t, reduction="mean"):
    return reduced(each(lambda x, t: math.fabs(x - t), x, t), reduction)


def huber(x, t, delta=1.0, reduction="mean"):
    def one(x, t):
        d = math.fabs(x - t)
        return d * d / 2 if d <= delta else delta * (d - delta / 2)

    return reduced(each(one, x, t), reduction)


def binary_cross_entropy(p, t, eps=1e-7, reduction="mean"):
    def one(p, t):
        p = builtins.min(builtins.max(p, eps), 1 - eps)
        return -(t * math.log(p) + (1 - t) * math.log(1 - p))

    return reduced(each(one, p, t), reduction)


def binary_cross_entropy_with_logits(z, t, reduction="mean"):
    def one(z, t):  # -t ln σ(z) - (1-t) ln σ(-z), with -ln σ(z) = ln(1 + e^-z)
        return t * float(softplus(-z)) + (1 - t) * float(softplus(z))

    return reduced(each(one, z, t), reduction)


def cross_entropy(logits, labels, weight=None, label_smoothing=0.0, reduction="mean"):
    M, K = logits.shape
    weight = np.ones(K) if weight is None else weight
    losses = np.zeros(M)
    for m in range(M):
        normaliser = log_sum_exp(list(logits[m]))
        for k in range(K):
            q = (1 - label_smoothing) * (k == labels[m]) + label_smoothing / K
            losses[m] -= weight[k] * q * (logits[m, k] - normaliser)
    return reduced(losses, reduction, math.fsum(weight[k] for k in labels))


def cross_entropy_with_probabilities(logits, target, weight=None, label_smoothing=0.0, reduction="mean"):
    M, K = logits.shape
    losses = np.zeros(M)
    for m in range(M):
        normaliser = log_sum_exp(list(logits[m]))
        for k in range(K):
            q = (1 - label_smoothing) * target[m, k] + label_smoothing / K
            losses[m] -= (1.0 if weight is None else weight[k]) * q * (logits[m, k] - normaliser)
    return reduced(losses, reduction)


# -- normalisation -----------------------------------------------------------------------------------------


def moments(values):
    """Mean and biased variance."""
    values = list(np.ravel(values))
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)


def scaled(x, gamma, beta):
    return x * (1.0 if gamma is None else gamma) + (0.0 if beta is None else beta)


def normed(y, residual, activation, slope):
    y = y if residual is None else y + residual
    if activation == "relu6":
        return np.minimum(np.maximum(y, 0), 6)
    return np.where(y > 0, y, slope * y) if activation == "leaky_relu" else ACTIVATION[activation](y)


def batch_norm(x, gamma, beta, residual=None, eps=1e-5, activation=None, slope=0.01):
    y = np.zeros(x.shape)
    means, inv_stds = np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
    for c in range(x.shape[-1]):
        mean, var = moments(x[..., c])
        means[c], inv_stds[c] = mean, 1 / math.sqrt(var + eps)
        y[..., c] = gamma[c] * (x[..., c] - mean) / math.sqrt(var + eps) + beta[c]
    return normed(y, residual, activation, slope), means, inv_stds


def batch_norm_inference(x, gamma, beta, mean, var, residual=None, eps=1e-5, activation=None, slope=0.01):
    y = each(lambda x, g, b, m, v: g * (x - m) / math.sqrt(v + eps) + b, x, gamma, beta, mean, var)
    return normed(y, residual, activation, slope)


def layer_norm(x, gamma=None, beta=None, eps=1e-5):
    y = np.zeros(x.shape)
    for i in np.ndindex(*x.shape[:-1]):
        mean, var = moments(x[i])
        y[i] = (x[i] - mean) / math.sqrt(var + eps)
    return scaled(y, gamma, beta)


def group_norm(x, gamma=None, beta=None, groups=1, eps=1e-5):
    y = np.zeros(x.shape)
    each_group = x.shape[-1] // groups
    for n in range(x.shape[0]):
        for g in range(groups):
            part = (n, ..., slice(g * each_group, (g + 1) * each_group))
            mean, var = moments(x[part])
            y[part] = (x[part] - mean) / math.sqrt(var + eps)
    return scaled(y, gamma, beta)


def instance_norm(x, gamma=None, beta=None, eps=1e-5):
    return group_norm(x, gamma, beta, x.shape[-1], eps)


# -- pooling and resampling --------------------------------------------------------------------------------


def pooled(f, x, kernel, stride, padding):
    kernel = two(kernel)
    stride = kernel if stride is None else two(stride)
    top, bottom, left, right = border(padding, x.shape[1:3], kernel, stride)
    N, H, W, C = x.shape
    y = np.zeros(
        (N, positions(H, kernel[0], stride[0], 1, top, bottom), positions(W, kernel[1], stride[1], 1, left, right), C)
    )
    for n, i, j, c in np.ndindex(*y.shape):
        rows = [h for h in range(i * stride[0] - top, i * stride[0] - top + kernel[0]) if 0 <= h < H]
        columns = [v for v in range(j * stride[1] - left, j * stride[1] - left + kernel[1]) if 0 <= v < W]
        y[n, i, j, c] = f([x[n, h, v, c] for h in rows for v in columns])
    return y


def average(values):
    return math.fsum(values) / len(values)


def max_pool2d(x, kernel, stride=None, padding=0):
    return pooled(builtins.max, x, kernel, stride, padding)


def avg_pool2d(x, kernel, stride=None, padding=0):
    return pooled(average, x, kernel, stride, padding)


def adaptive_avg_pool2d(x, size=1):
    OH, OW = two(size)
    N, H, W, C = x.shape
    y = np.zeros((N, OH, OW, C))
    for n, i, j, c in np.ndindex(*y.shape):
        rows = range(math.floor(i * H / OH), math.ceil((i + 1) * H / OH))
        columns = range(math.floor(j * W / OW), math.ceil((j + 1) * W / OW))
        y[n, i, j, c] = average([x[n, h, v, c] for h in rows for v in columns])
    return y


def upsample_nearest(x, scale=2):
    a, b = two(scale)
    N, H, W, C = x.shape
    y = np.zeros((N, H * a, W * b, C))
    for n, i, j, c in np.ndindex(*y.shape):
        y[n, i, j, c] = x[n, i // a, j // b, c]
    return y


def source(i, n, out, align_corners):
    """The input position, a real number inside the image, that output pixel i reads."""
    if align_corners:
        return 0.0 if out == 1 else i * (n - 1) / (out - 1)
    return builtins.min(builtins.max((i + 0.5) * n / out - 0.5, 0.0), n - 1.0)


def upsample_bilinear(x, scale=None, size=None, align_corners=False):
    N, H, W, C = x.shape
    a, b = two(2 if scale is None else scale)
    OH, OW = (H * a, W * b) if size is None else two(size)
    y = np.zeros((N, OH, OW, C))
    for n, i, j, c in np.ndindex(*y.shape):
        h, v = source(i, H, OH, align_corners), source(j, W, OW, align_corners)
        y[n, i, j, c] = math.fsum(
            builtins.max(0.0, 1 - math.fabs(h - p)) * builtins.max(0.0, 1 - math.fabs(v - q)) * x[n, p, q, c]
            for p in range(H)
            for q in range(W)
        )
    return y


# -- reductions --------------------------------------------------------------------------------------------


def folded(f, x, axis, keepdims, dtype=np.float64):
    """f of the list of all elements that share the coordinates not in `axis`."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = {a % x.ndim for a in axes} if x.ndim else set()
    kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
    groups = {i: [] for i in np.ndindex(*kept)}
    for i in np.ndindex(*x.shape):
        groups[tuple(0 if a in axes else n for a, n in enumerate(i))].append(x[i])
    y = np.zeros(kept, dtype)
    for i, values in groups.items():
        y[i] = f(values)
    return y if keepdims else y.reshape([n for a, n in enumerate(x.shape) if a not in axes])


def sum(x, axis=None, keepdims=False):
    return folded(math.fsum, x, axis, keepdims)


def mean(x, axis=None, keepdims=False):
    return folded(average, x, axis, keepdims)


def var(x, axis=None, keepdims=False):
    return folded(lambda values: moments(values)[1], x, axis, keepdims)


def max(x, axis=None, keepdims=False):
    return folded(builtins.max, x, axis, keepdims)


def argmax(x, axis=-1):
    return folded(lambda values: values.index(builtins.max(values)), x, axis, False, np.int64)


# -- shape -------------------------------------------------------------------------------------------------


def reshape(x, shape):
    shape = two(shape)[:1] if isinstance(shape, int) else shape
    rest = math.prod(n for n in shape if n != -1)
    y = np.zeros([x.size // rest if n == -1 else n for n in shape])
    for value, i in zip([x[j] for j in np.ndindex(*x.shape)], np.ndindex(*y.shape)):
        y[i] = value
    return y


def transpose(x, axes=()):
    axes = [a % x.ndim for a in axes] if axes else list(range(x.ndim))[::-1]
    y = np.zeros([x.shape[a] for a in axes])
    for i in np.ndindex(*x.shape):
        y[tuple(i[a] for a in axes)] = x[i]
    return y


def broadcast_to(x, shape):
    y = np.zeros(shape)
    for i in np.ndindex(*y.shape):
        y[i] = x[tuple(0 if n == 1 else k for n, k in zip(x.shape, i[len(i) - x.ndim :]))]
    return y


def concat(*xs, axis=-1):
    axis %= xs[0].ndim
    joined = math.fsum(x.shape[axis] for x in xs)
    y = np.zeros([int(joined) if a == axis else n for a, n in enumerate(xs[0].shape)])
    start = 0
    for x in xs:
        for i in np.ndindex(*x.shape):
            y[tuple(n + start if a == axis else n for a, n in enumerate(i))] = x[i]
        start += x.shape[axis]
    return y


def numbers(shape):
    """An array in which every element is its own position."""
    return np.arange(math.prod(shape)).reshape(shape)


def take(x, index):
    positions = numbers(x.shape)[index]
    flat = [x[i] for i in np.ndindex(*x.shape)]
    return each(lambda position: flat[position], positions)


def take_backward(x, index, shape):
    y = [0.0] * math.prod(shape)
    for position, value in zip(np.ravel(numbers(shape)[index]), np.ravel(x)):
        y[position] += value
    return np.array(y).reshape(shape)


def gather(x, index, axis=-1):
    axis %= x.ndim
    y = np.zeros(index.shape)
    for i in np.ndindex(*index.shape):
        y[i] = x[tuple(index[i] if a == axis else n for a, n in enumerate(i))]
    return y


def pad(x, widths, mode="constant", value=0.0):
    def origin(i, n):
        """Which of n elements the padded position i (from -before to n + after) shows; None: the constant."""
        if 0 <= i < n:
            return i
        if mode == "constant":
            return None
        if mode == "replicate":
            return 0 if i < 0 else n - 1
        return -i if i < 0 else 2 * (n - 1) - i

    y = np.zeros([before + n + after for n, (before, after) in zip(x.shape, widths)])
    for i in np.ndindex(*y.shape):
        source = [origin(p - before, n) for p, n, (before, _) in zip(i, x.shape, widths)]
        y[i] = value if None in source else x[tuple(source)]
    return y
