"""dlkit and PyTorch on the same work, alternately in one process.

    python benchmarks/against_torch.py [conv] [matmul] [step] [epoch] [--threads 2] [--json]

conv : convolutions, forward and both gradients; PyTorch in its better layout (channels_last). "by im2col" is the forward
    as the textbook has it, a copy and one product, against PyTorch's convolution.
matmul : square products and a linear layer's forward and gradients.
step : one training step (forward, backward, Adam) of lenet5, mlp and resnet20, batch 64.
epoch : a whole epoch of lenet5 on MNIST-sized data (60,000 images, batch 64), each side with its own data loop.
Each answer is checked against the other side's before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np

import dlkit
from dlkit import Tensor, nn
from dlkit.backends import kernels
from dlkit.data import ArraySource
from dlkit.data.loader import Loader
from dlkit.data.normalize import Normalizer
from dlkit.models import build_model
from dlkit.optim import Adam
from dlkit.threads import set_num_threads

try:
    import torch
except ImportError:
    sys.exit("against_torch: PyTorch is not installed here; pip install torch")

CONVOLUTIONS = [  # N, H, W, C, K, R, stride, padding, groups
    (64, 28, 28, 1, 6, 5, 1, 2, 1),
    (64, 14, 14, 6, 16, 5, 1, 0, 1),
    (64, 32, 32, 3, 16, 3, 1, 1, 1),
    (64, 32, 32, 16, 16, 3, 1, 1, 1),
    (64, 32, 32, 16, 32, 3, 2, 1, 1),
    (64, 16, 16, 32, 32, 3, 1, 1, 1),
    (64, 8, 8, 64, 64, 3, 1, 1, 1),
    (8, 56, 56, 64, 64, 3, 1, 1, 1),
    (8, 28, 28, 128, 128, 3, 1, 1, 1),
    (8, 56, 56, 256, 64, 1, 1, 0, 1),
    (8, 56, 56, 64, 256, 1, 1, 0, 1),
    (8, 28, 28, 128, 128, 3, 1, 1, 32),
    (8, 56, 56, 96, 96, 3, 1, 1, 96),
    (8, 28, 28, 120, 120, 5, 1, 2, 120),
]
PRODUCTS = [  # M, I, O
    (128, 128, 128),
    (512, 512, 512),
    (2048, 2048, 2048),
    (64, 784, 256),
    (256, 1024, 1024),
]


def alternate(ours: Callable, theirs: Callable, rounds: int = 15, budget: float = 0.02) -> tuple[float, float]:
    """Median milliseconds of each, both warmed up, blocks of one and of the other in turn."""

    def block(f: Callable, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            f()
        return (time.perf_counter() - began) / count

    for f in (ours, theirs):
        block(f, 3)
    counts = [max(1, int(budget / block(f, 1))) for f in (ours, theirs)]
    times = [(block(ours, counts[0]), block(theirs, counts[1])) for _ in range(rounds)]
    a, b = np.median(times, axis=0)
    return 1e3 * a, 1e3 * b


def close(ours: np.ndarray, theirs: np.ndarray, what: str, tolerance: float = 1e-4) -> None:
    error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)
    if error > tolerance:
        sys.exit(f"against_torch: {what}: the answers differ by {error:.1e} of the largest value")


def convolution(layer: tuple) -> list[dict]:
    n, h, w, c, f, r, s, p, g = layer
    k, rng = kernels(), np.random.default_rng(0)
    x = rng.standard_normal((n, h, w, c)).astype(np.float32)
    filters = rng.standard_normal((r, r, c // g, f)).astype(np.float32)
    geometry = ((s, s), (p, p, p, p), (1, 1), g)
    y = k.conv2d_forward(x, filters, None, *geometry, None)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    tx = torch.tensor(x).permute(0, 3, 1, 2)
    tw = torch.tensor(filters).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    tdy = torch.tensor(dy).permute(0, 3, 1, 2)

    def torch_gradient(which: int) -> torch.Tensor:
        mask = [which == 0, which == 1, False]
        sizes = ([s, s], [p, p], [1, 1])
        return torch.ops.aten.convolution_backward(tdy, tx, tw, None, *sizes, False, [0, 0], g, mask)[which]

    def by_im2col() -> np.ndarray:
        columns = k.im2col(x, (r, r), *geometry[:3])
        return k.matmul(k.reshape(columns, (-1, r * r * c)), k.reshape(filters, (r * r * c, f)))

    nhwc, rsck = (0, 2, 3, 1), (2, 3, 1, 0)
    directions = {
        "forward": (
            lambda: k.conv2d_forward(x, filters, None, *geometry, None),
            lambda: torch.nn.functional.conv2d(tx, tw, stride=s, padding=p, groups=g),
            nhwc,
        ),
        "input gradient": (
            lambda: k.conv2d_backward_input(dy, filters, (h, w), *geometry),
            lambda: torch_gradient(0),
            nhwc,
        ),
        "weight gradient": (
            lambda: k.conv2d_backward_weight(x, dy, (r, r), *geometry),
            lambda: torch_gradient(1),
            rsck,
        ),
    }
    if g == 1 and r > 1:
        directions["by im2col"] = (lambda: by_im2col().reshape(y.shape), *directions["forward"][1:])
    gflop = 2e-9 * y.size * r * r * (c // g)
    rows = []
    for name, (ours, theirs, axes) in directions.items():
        case = f"conv {n}x{h}x{w}x{c} {r}x{r} {f} s{s}{f' g{g}' if g > 1 else ''} {name}"
        with torch.no_grad():
            close(ours(), theirs().permute(axes).numpy(), case)
            a, b = alternate(ours, theirs)
        rows.append({"case": case, "dlkit_ms": a, "torch_ms": b, "ratio": b / a, "gflops": 1e3 * gflop / a})
    return rows


def convolutions() -> list[dict]:
    return [row for layer in CONVOLUTIONS for row in convolution(layer)]


def product(M: int, I: int, O: int) -> list[dict]:
    k, rng = kernels(), np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, I), (I, O), (M, O)))
    tx, tw, tdy = map(torch.tensor, (x, w, dy))
    directions: dict[str, tuple[Callable, Callable]] = {
        "forward": (lambda: k.matmul(x, w), lambda: tx @ tw),
        "input gradient": (lambda: k.matmul(dy, w, False, True), lambda: tdy @ tw.t()),
        "weight gradient": (lambda: k.matmul(x, dy, True, False), lambda: tx.t() @ tdy),
    }
    rows = []
    for name, (ours, theirs) in directions.items():
        case = f"matmul {M}x{I}x{O} {name}"
        close(ours(), theirs().numpy(), case)
        a, b = alternate(ours, theirs)
        rows.append({"case": case, "dlkit_ms": a, "torch_ms": b, "ratio": b / a, "gflops": 2e-6 * M * I * O / a})
    return rows


def products() -> list[dict]:
    return [row for sizes in PRODUCTS for row in product(*sizes)]


def torch_model(name: str) -> torch.nn.Module:
    t = torch.nn
    if name == "mlp":
        return t.Sequential(t.Flatten(), t.Linear(784, 256), t.ReLU(), t.Linear(256, 128), t.ReLU(), t.Linear(128, 10))
    if name == "lenet5":
        return t.Sequential(
            t.Conv2d(1, 6, 5, padding=2),
            t.Tanh(),
            t.AvgPool2d(2),
            t.Conv2d(6, 16, 5),
            t.Tanh(),
            t.AvgPool2d(2),
            t.Flatten(),
            t.Linear(400, 120),
            t.Tanh(),
            t.Linear(120, 84),
            t.Tanh(),
            t.Linear(84, 10),
        )

    class Block(t.Module):
        def __init__(self, a: int, b: int, s: int):
            super().__init__()
            self.c1, self.n1 = t.Conv2d(a, b, 3, s, 1, bias=False), t.BatchNorm2d(b)
            self.c2, self.n2 = t.Conv2d(b, b, 3, 1, 1, bias=False), t.BatchNorm2d(b)
            self.s, self.extra = s, b - a

        def forward(self, x):
            y = self.n2(self.c2(self.n1(self.c1(x)).relu_()))
            if self.s > 1:
                x = torch.nn.functional.pad(x[:, :, :: self.s, :: self.s], (0, 0, 0, 0, 0, self.extra))
            return (x + y).relu_()

    layers, width = [t.Conv2d(3, 16, 3, 1, 1, bias=False), t.BatchNorm2d(16), t.ReLU(True)], 16
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            layers.append(Block(width, channels, 2 if stage and not block else 1))
            width = channels
    return t.Sequential(*layers, t.AdaptiveAvgPool2d(1), t.Flatten(), t.Linear(64, 10))


def dlkit_model(name: str, shape: tuple) -> nn.Module:
    return build_model(name, shape, 10, **({"hidden": (256, 128)} if name == "mlp" else {}))


def steps(name: str, shape: tuple) -> tuple[Callable, Callable]:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((64, *shape)).astype(np.float32), rng.integers(0, 10, 64)
    model, loss = dlkit_model(name, shape), nn.CrossEntropyLoss()
    optimizer = Adam(model.parameters())

    def ours() -> float:
        value = loss(model(Tensor(x)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    net = torch_model(name).to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    tx = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    tlabels = torch.tensor(labels)

    def theirs() -> float:
        value = torch.nn.functional.cross_entropy(net(tx), tlabels)
        adam.zero_grad()
        value.backward()
        adam.step()
        return value.item()

    for side in (ours, theirs):  # the answer here is that both learn the batch by heart
        first = side()
        for _ in range(100):
            last = side()
        if not last < 0.7 * first:
            sys.exit(f"against_torch: {name} did not learn its batch: {first:.3f} to {last:.3f}")
    return ours, theirs


def training_steps() -> list[dict]:
    rows = []
    for name, shape in (("mlp", (28, 28, 1)), ("lenet5", (28, 28, 1)), ("resnet20", (32, 32, 3))):
        a, b = alternate(*steps(name, shape), budget=0.1)
        rows.append({"case": f"{name} step, batch 64", "dlkit_ms": a, "torch_ms": b, "ratio": b / a})
    return rows


def epochs(rounds: int = 3) -> list[dict]:
    """lenet5, 60,000 images of 28×28, batch 64, Adam; each side shuffles and normalises uint8 images as it goes."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60_000, 28, 28, 1)).astype(np.uint8), rng.integers(0, 10, 60_000)
    source = ArraySource(images, labels)
    loader = Loader(source, 64, normalizer=Normalizer.fit(source))
    model, loss = dlkit_model("lenet5", (28, 28, 1)), nn.CrossEntropyLoss()
    optimizer = Adam(model.parameters())
    net = torch_model("lenet5").to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    tensor_images, tensor_labels = torch.tensor(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)
    mean, std = images.mean() / 255, images.std() / 255

    def ours(epoch: int) -> None:
        for x, y in loader.epoch(epoch):
            value = loss(model(Tensor(x)), y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    def theirs(epoch: int) -> None:
        order = torch.randperm(60_000)
        for i in range(0, 60_000, 64):
            batch = order[i : i + 64]
            x = ((tensor_images[batch].float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
            value = torch.nn.functional.cross_entropy(net(x), tensor_labels[batch])
            adam.zero_grad()
            value.backward()
            adam.step()

    times = []
    for epoch in range(rounds):
        pair = []
        for side in (ours, theirs):
            began = time.perf_counter()
            side(epoch)
            pair.append(time.perf_counter() - began)
        times.append(pair)
    a, b = 1e3 * np.median(times, axis=0)
    return [{"case": "lenet5 epoch, 60,000 images, batch 64", "dlkit_ms": a, "torch_ms": b, "ratio": b / a}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["conv", "matmul", "step", "epoch", []], default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    wanted = options.what or ["conv", "matmul", "step", "epoch"]
    rows = [
        row
        for name, f in (("conv", convolutions), ("matmul", products), ("step", training_steps), ("epoch", epochs))
        if name in wanted
        for row in f()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    print(
        f"dlkit {dlkit.__version__} ({dlkit.backends.current_backend()}), PyTorch {torch.__version__} channels_last, "
        f"{options.threads} threads, float32; ratio = PyTorch / dlkit"
    )
    for row in rows:
        speed = f"{row['gflops']:8.1f} GFLOP/s" if "gflops" in row else ""
        print(f"{row['case']:52s} {row['dlkit_ms']:10.3f} ms {row['torch_ms']:10.3f} ms   {row['ratio']:5.2f}{speed}")


if __name__ == "__main__":
    main()
