"""PyTorch's kernels, called as its users call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dlkit.bench.case import Inputs, Work
from dlkit.bench.peers import LAYOUTS, peer

FORMATS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


def image(x: np.ndarray, layout: str) -> torch.Tensor:
    """[N, H, W, C] -> torch's [N, C, H, W], lying in memory as `layout` says."""
    return torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=FORMATS[layout])


def filters(w: np.ndarray, layout: str) -> torch.Tensor:
    """[R, S, C/G, K] -> torch's [K, C/G, R, S]."""
    return torch.tensor(w).permute(3, 2, 0, 1).contiguous(memory_format=FORMATS[layout])


def from_image(y: torch.Tensor) -> np.ndarray:
    return y.detach().permute(0, 2, 3, 1).numpy()


def from_filters(w: torch.Tensor) -> np.ndarray:
    return w.detach().permute(2, 3, 1, 0).numpy()


@peer("matmul")
def matmul(inputs: Inputs, variant: str) -> Work:
    a, b = torch.tensor(inputs["a"]), torch.tensor(inputs["b"])
    a, b = a.t() if inputs["transpose_a"] else a, b.t() if inputs["transpose_b"] else b
    return Work(lambda: torch.mm(a, b), lambda y: [y.numpy()])


# -- convolution ----------------------------------------------------------------------------------------------------------


@peer("conv2d_forward", LAYOUTS)
def conv2d_forward(inputs: Inputs, variant: str) -> Work:
    x, w = image(inputs["x"], variant), filters(inputs["w"], variant)
    geometry = {name: inputs[name] for name in ("stride", "padding", "groups")}
    return Work(lambda: functional.conv2d(x, w, **geometry), lambda y: [from_image(y)])


def _conv2d_gradient(inputs: Inputs, variant: str, which: int, answer: Callable) -> Work:
    dy, x, w = image(inputs["dy"], variant), image(inputs["x"], variant), filters(inputs["w"], variant)
    s, p, mask = inputs["stride"], inputs["padding"], [which == 0, which == 1, False]
    geometry = ([s, s], [p, p], [1, 1], False, [0, 0], inputs["groups"])
    backward = torch.ops.aten.convolution_backward
    return Work(lambda: backward(dy, x, w, None, *geometry, mask)[which], lambda g: [answer(g)])


@peer("conv2d_backward_input", LAYOUTS)
def conv2d_backward_input(inputs: Inputs, variant: str) -> Work:
    return _conv2d_gradient(inputs, variant, 0, from_image)


@peer("conv2d_backward_weight", LAYOUTS)
def conv2d_backward_weight(inputs: Inputs, variant: str) -> Work:
    return _conv2d_gradient(inputs, variant, 1, from_filters)


# -- an image in, an image out -----------------------------------------------------------------------------------------


def _both_ways(name: str, f: Callable[[Inputs, torch.Tensor], torch.Tensor]) -> None:
    """Registers f forward, and forward with backward from inputs["dy"]."""

    def forward(inputs: Inputs, variant: str) -> Work:
        x = image(inputs["x"], variant)
        return Work(lambda: f(inputs, x), lambda y: [from_image(y)])

    def forward_backward(inputs: Inputs, variant: str) -> Work:
        x, dy = image(inputs["x"], variant).requires_grad_(), image(inputs["dy"], variant)

        def run() -> torch.Tensor:
            x.grad = None
            y = f(inputs, x)
            y.backward(dy)
            return y

        return Work(run, lambda y: [from_image(y), from_image(x.grad)])

    peer(f"{name} forward", LAYOUTS)(forward)
    peer(f"{name} forward+backward", LAYOUTS)(forward_backward)


def _window(inputs: Inputs) -> tuple[int, int, int]:
    return inputs["kernel"], inputs["stride"], inputs["padding"]


_both_ways("max_pool2d", lambda inputs, x: functional.max_pool2d(x, *_window(inputs)))
_both_ways("avg_pool2d", lambda inputs, x: functional.avg_pool2d(x, *_window(inputs)))
_both_ways("global_avg_pool", lambda inputs, x: functional.adaptive_avg_pool2d(x, 1))
_both_ways("relu", lambda inputs, x: functional.relu(x))
_both_ways("gelu", lambda inputs, x: functional.gelu(x))
_both_ways("upsample nearest x2", lambda inputs, x: functional.interpolate(x, scale_factor=2, mode="nearest"))
_both_ways(
    "upsample bilinear x2",
    lambda inputs, x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
)


def _batch_norm(inputs: Inputs, variant: str, relu: bool, backward: bool) -> Work:
    x, dy = image(inputs["x"], variant), image(inputs["dy"], variant)
    layer = torch.nn.BatchNorm2d(x.shape[1])
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(inputs["gamma"]))
        layer.bias.copy_(torch.tensor(inputs["beta"]))
    leaves = [x, layer.weight, layer.bias]
    for leaf in leaves:
        leaf.requires_grad_(backward)

    def run() -> torch.Tensor:
        for leaf in leaves:
            leaf.grad = None
        y = layer(x).relu_() if relu else layer(x)
        if backward:
            y.backward(dy)
        return y

    def answer(y: torch.Tensor) -> list[np.ndarray]:
        return [from_image(y), *([from_image(x.grad), *(p.grad.numpy() for p in leaves[1:])] if backward else [])]

    return Work(run, answer)


@peer("batch_norm forward", LAYOUTS)
def batch_norm(inputs: Inputs, variant: str) -> Work:
    return _batch_norm(inputs, variant, False, False)


@peer("batch_norm forward+backward", LAYOUTS)
def batch_norm_both(inputs: Inputs, variant: str) -> Work:
    return _batch_norm(inputs, variant, False, True)


@peer("batch_norm+relu forward", LAYOUTS)
def batch_norm_relu(inputs: Inputs, variant: str) -> Work:
    return _batch_norm(inputs, variant, True, False)


@peer("batch_norm+relu forward+backward", LAYOUTS)
def batch_norm_relu_both(inputs: Inputs, variant: str) -> Work:
    return _batch_norm(inputs, variant, True, True)


# -- loss, optimisers, tape -------------------------------------------------------------------------------------------


@peer("cross_entropy forward")
def cross_entropy(inputs: Inputs, variant: str) -> Work:
    logits, labels = torch.tensor(inputs["logits"]), torch.tensor(inputs["labels"])
    return Work(lambda: functional.cross_entropy(logits, labels), lambda loss: [loss.numpy()])


@peer("cross_entropy forward+backward")
def cross_entropy_both(inputs: Inputs, variant: str) -> Work:
    logits, labels = torch.tensor(inputs["logits"]).requires_grad_(), torch.tensor(inputs["labels"])

    def run() -> torch.Tensor:
        logits.grad = None
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        return loss

    return Work(run, lambda loss: [loss.detach().numpy(), logits.grad.numpy()])


OPTIMIZER_VARIANTS: dict[str, dict[str, Any]] = {"default": {}, "fused": {"fused": True}}


def _step(inputs: Inputs, make: Callable[..., torch.optim.Optimizer], options: dict[str, Any]) -> Work:
    p = torch.tensor(inputs["p"]).requires_grad_()
    p.grad = torch.tensor(inputs["g"])
    return Work(make([p], lr=1e-3, **options).step, lambda _: [p.detach().numpy().copy()])


@peer("adam", tuple(OPTIMIZER_VARIANTS))
def adam(inputs: Inputs, variant: str) -> Work:
    return _step(inputs, torch.optim.Adam, OPTIMIZER_VARIANTS[variant])


@peer("sgd momentum", tuple(OPTIMIZER_VARIANTS))
def sgd(inputs: Inputs, variant: str) -> Work:
    return _step(inputs, torch.optim.SGD, {"momentum": 0.9, **OPTIMIZER_VARIANTS[variant]})


@peer("tape add, not recorded")
def add(inputs: Inputs, variant: str) -> Work:
    a, b = torch.tensor(inputs["a"]), torch.tensor(inputs["b"])
    return Work(lambda: a + b, lambda y: [y.numpy()])


@peer("tape add, recorded")
def add_recorded(inputs: Inputs, variant: str) -> Work:
    a, b = torch.tensor(inputs["a"]).requires_grad_(), torch.tensor(inputs["b"])
    return Work(lambda: a + b, lambda y: [y.detach().numpy()])


@peer("tape add+sum forward+backward")
def add_sum(inputs: Inputs, variant: str) -> Work:
    a, b = torch.tensor(inputs["a"]).requires_grad_(), torch.tensor(inputs["b"])

    def run() -> torch.Tensor:
        a.grad = None
        y = (a + b).sum()
        y.backward()
        return y

    return Work(run, lambda y: [y.detach().numpy(), a.grad.numpy()])
