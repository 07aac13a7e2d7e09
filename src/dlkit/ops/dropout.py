from __future__ import annotations

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError
from dlkit.ops.op import BadCall, Sample, op
from dlkit.symbol import has_symbol


@op(
    "x[...], mask[...] -> y[...]",
    formula="y = x · mask, mask = 0 with probability p, else 1/(1-p)",
    slope="dx = dy · mask",
    source="Srivastava et al. 2014, Dropout (inverted: scaled while training)",
)
class dropout:
    """Training mode; at inference dropout is the identity. `mask` fixes the draw, else `rng` (or the default) makes it."""

    real = True
    second = True
    nondiff = (1,)
    onnx = "Dropout"

    def arguments(x, p=0.5, rng=None, mask=None):
        if not 0 <= p < 1:
            raise ConfigError(f"dropout: p (={p}) must be at least 0 and below 1")
        if mask is None:
            if has_symbol(x):
                raise ConfigError("dropout draws its mask when it is called; in a model of symbols use nn.Dropout")
            if getattr(x, "device", "cpu") == "meta":
                return (x, x), {}
            rng = rng or random.generator()
            dtype = np.dtype(x.dtype if x.dtype.kind == "f" else np.float32)
            keep = rng.random(x.shape, dtype=np.float32) >= p
            mask = np.multiply(keep, dtype.type(1 / (1 - p)), dtype=dtype)
        return (x, mask), {}

    def samples(rng):
        def mask(shape):
            return (rng.random(shape) > 0.4) / 0.6

        return [Sample((rng.standard_normal(s),), {"mask": mask(s)}) for s in ((7,), (3, 4), (2, 3, 2, 5))]

    def errors():
        return [BadCall((np.zeros(3),), {"p": 1.0}, ConfigError, r"p \(=1.0\) must be at least 0 and below 1")]

    def forward(k, x, mask):
        return k.multiply(x, mask), (mask,)

    def backward(k, saved, dy):
        (mask,) = saved
        return k.multiply(dy, mask), None
