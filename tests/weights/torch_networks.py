"""The zoo's architectures as PyTorch modules, their parts named and ordered as torchvision (or timm) names and orders them.

Written from the papers and the published names, for one purpose: random weights in, the same outputs out of dlkit.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def scaled(n: int, width: int, base: int) -> int:
    return max(1, round(n * width / base))


# -- AlexNet, VGG --------------------------------------------------------------------------------------------------------


class AlexNet(nn.Module):
    def __init__(self, classes: int, width: int):
        super().__init__()
        a, b, d, e, hidden = (scaled(n, width, 64) for n in (64, 192, 384, 256, 4096))
        relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
        first = nn.Conv2d(3, a, 11, 4, 2), relu, pool, nn.Conv2d(a, b, 5, padding=2), relu, pool
        rest = nn.Conv2d(b, d, 3, padding=1), relu, nn.Conv2d(d, e, 3, padding=1), relu, nn.Conv2d(e, e, 3, padding=1)
        self.features = nn.Sequential(*first, *rest, relu, pool)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        linears = nn.Linear(36 * e, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, classes)
        self.classifier = nn.Sequential(nn.Dropout(), linears[0], relu, nn.Dropout(), linears[1], relu, linears[2])

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


STAGES = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}


class VGG(nn.Module):
    def __init__(self, depth: int, classes: int, width: int, batch_norm: bool):
        super().__init__()
        layers, c = [], 3
        for stage, count in enumerate(STAGES[depth]):
            k = scaled(64 * 2 ** min(stage, 3), width, 64)
            for _ in range(count):
                layers += [nn.Conv2d(c, k, 3, padding=1), *([nn.BatchNorm2d(k)] if batch_norm else []), nn.ReLU()]
                c = k
            layers.append(nn.MaxPool2d(2))
        self.features, self.avgpool, hidden = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7), scaled(4096, width, 64)
        head = nn.Linear(49 * c, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()
        self.classifier = nn.Sequential(*head, nn.Linear(hidden, classes))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def timm_vgg(state: dict) -> dict:
    """VGG's tensors as timm calls and shapes them: the first linear layers are convolutions."""
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    out = {}
    for name, w in state.items():
        layer, _, what = name.rpartition(".")
        if layer == "classifier.0" and what == "weight":
            w = w.reshape(len(w), -1, 7, 7)
        elif layer == "classifier.3" and what == "weight":
            w = w[:, :, None, None]
        out[f"{names.get(layer, layer)}.{what}"] = w
    return out


# -- ResNets -------------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """filters : (channels, size, stride) of each convolution."""

    def __init__(self, c: int, filters: list[tuple[int, int, int]], stride: int):
        super().__init__()
        self.count, k, c0 = len(filters), filters[-1][0], c
        for i, (channels, size, step) in enumerate(filters, 1):
            setattr(self, f"conv{i}", nn.Conv2d(c, channels, size, step, size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(channels))
            c = channels
        self.downsample = None
        if stride > 1 or c0 != k:
            self.downsample = nn.Sequential(nn.Conv2d(c0, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y.relu() if i < self.count else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet(nn.Module):
    def __init__(self, counts: tuple[int, ...], bottleneck: bool, classes: int, width: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        c = width
        for stage, count in enumerate(counts):
            blocks, k = [], width * 2**stage
            for i in range(count):
                s = 2 if stage and not i else 1
                filters = [(k, 1, 1), (k, 3, s), (4 * k, 1, 1)] if bottleneck else [(k, 3, s), (k, 3, 1)]
                blocks.append(Block(c, filters, s))
                c = filters[-1][0]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


# -- MobileNet v2 --------------------------------------------------------------------------------------------------------

INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_norm(c: int, k: int, size: int, stride: int = 1, groups: int = 1, act: bool = True) -> list[nn.Module]:
    conv = nn.Conv2d(c, k, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(k), *([nn.ReLU6()] if act else [])]


class Inverted(nn.Module):
    def __init__(self, c: int, k: int, stride: int, expansion: int):
        super().__init__()
        h = c * expansion
        parts = [nn.Sequential(*conv_norm(c, h, 1))] if expansion > 1 else []
        parts += [nn.Sequential(*conv_norm(h, h, 3, stride, h)), *conv_norm(h, k, 1, act=False)]
        self.conv, self.adds = nn.Sequential(*parts), stride == 1 and c == k

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes: int, width: int):
        super().__init__()
        layers, c, last = [nn.Sequential(*conv_norm(3, width, 3, 2))], width, scaled(1280, width, 32)
        for expansion, channels, count, stride in INVERTED:
            for i in range(count):
                k = scaled(channels, width, 32)
                layers.append(Inverted(c, k, 1 if i else stride, expansion))
                c = k
        self.features = nn.Sequential(*layers, nn.Sequential(*conv_norm(c, last, 1)))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def timm_mobilenet_v2(state: dict) -> dict:
    """MobileNet v2's tensors as timm calls them, block by block from the published table."""
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "classifier"}
    n = 1
    for stage, (expansion, _, count, _) in enumerate(INVERTED):
        for i in range(count):
            there, here = f"features.{n}.conv", f"blocks.{stage}.{i}"
            wide = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
            first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
            names |= {f"{there}.{a}": f"{here}.{b}" for a, b in (wide if expansion > 1 else first).items()}
            n += 1
    names |= {f"features.{n}.0": "conv_head", f"features.{n}.1": "bn2"}
    return {f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": w for name, w in state.items()}


# -- Inceptions ----------------------------------------------------------------------------------------------------------


class Conv(nn.Module):
    def __init__(self, c: int, k: int, size: int | tuple[int, int], stride: int = 1, padding: int | None = None):
        super().__init__()
        r, s = (size, size) if isinstance(size, int) else size
        around = (r // 2, s // 2) if padding is None else padding
        self.conv = nn.Conv2d(c, k, (r, s), stride, around, bias=False)
        self.bn = nn.BatchNorm2d(k, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


class Inception(nn.Module):
    def __init__(self, c: int, one: int, three_in: int, three: int, five_in: int, five: int, pool: int):
        super().__init__()
        self.branch1 = Conv(c, one, 1)
        self.branch2 = nn.Sequential(Conv(c, three_in, 1), Conv(three_in, three, 3))
        self.branch3 = nn.Sequential(Conv(c, five_in, 1), Conv(five_in, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), Conv(c, pool, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    def __init__(self, c: int, classes: int, width: int):
        super().__init__()
        k, hidden = scaled(128, width, 64), scaled(1024, width, 64)
        self.conv, self.fc1, self.fc2 = Conv(c, k, 1), nn.Linear(16 * k, hidden), nn.Linear(hidden, classes)

    def forward(self, x):
        return self.fc2(self.fc1(self.conv(functional.adaptive_avg_pool2d(x, 4)).flatten(1)).relu())


GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class GoogLeNet(nn.Module):
    def __init__(self, classes: int, width: int):
        super().__init__()
        self.conv1, self.conv2, c = Conv(3, width, 7, 2), Conv(width, width, 1), scaled(192, width, 64)
        self.conv3 = Conv(width, c, 3)
        for name, sizes in GOOGLENET.items():
            if name in ("4b", "4e"):
                setattr(self, "aux1" if name == "4b" else "aux2", Auxiliary(c, classes, width))
            one, a, three, b, five, pool = (scaled(n, width, 64) for n in sizes)
            setattr(self, f"inception{name}", Inception(c, one, a, three, b, five, pool))
            c = one + three + five + pool
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        x = functional.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        for name in GOOGLENET:
            if name in ("4a", "5a"):
                x = functional.max_pool2d(x, 3 if name == "4a" else 2, 2, ceil_mode=True)
            x = getattr(self, f"inception{name}")(x)
        return self.fc(x.mean((2, 3)))


class Branches(nn.Module):
    """Parts by name; `paths` says which are run one after the other. "mean" and "max" are poolings, a tuple is a fork."""

    def __init__(self, paths: list[list], **parts: nn.Module):
        super().__init__()
        self.paths = paths
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return torch.cat([self._path(path, x) for path in self.paths], 1)

    def _path(self, path: list, x):
        for step in path:
            if step == "mean":
                x = functional.avg_pool2d(x, 3, 1, 1)
            elif step == "max":
                x = functional.max_pool2d(x, 3, 2)
            elif isinstance(step, tuple):
                x = torch.cat([getattr(self, name)(x) for name in step], 1)
            else:
                x = getattr(self, step)(x)
        return x


class InceptionV3(nn.Module):
    def __init__(self, classes: int, width: int):
        super().__init__()

        def n(channels: int) -> int:
            return scaled(channels, width, 32)

        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, n(32), 3, 2, 0), Conv(n(32), n(32), 3, 1, 0)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Conv(n(32), n(64), 3), Conv(n(64), n(80), 1)
        self.Conv2d_4a_3x3 = Conv(n(80), n(192), 3, 1, 0)
        c = n(192)
        for name, pool in (("5b", 32), ("5c", 64), ("5d", 64)):
            setattr(self, f"Mixed_{name}", self.block_a(c, n, pool))
            c = 2 * n(64) + n(96) + n(pool)
        self.Mixed_6a = Branches(
            [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"], ["max"]],
            branch3x3=Conv(c, n(384), 3, 2, 0),
            branch3x3dbl_1=Conv(c, n(64), 1),
            branch3x3dbl_2=Conv(n(64), n(96), 3),
            branch3x3dbl_3=Conv(n(96), n(96), 3, 2, 0),
        )
        c += n(384) + n(96)
        for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(self, f"Mixed_{name}", self.block_c(c, n, inner))
            c = 4 * n(192)
        self.AuxLogits = nn.Module()
        self.AuxLogits.conv0, self.AuxLogits.conv1 = Conv(c, n(128), 1), Conv(n(128), n(768), 5, 1, 0)
        self.AuxLogits.fc = nn.Linear(n(768), classes)
        self.Mixed_7a = Branches(
            [["branch3x3_1", "branch3x3_2"], [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)], ["max"]],
            branch3x3_1=Conv(c, n(192), 1),
            branch3x3_2=Conv(n(192), n(320), 3, 2, 0),
            branch7x7x3_1=Conv(c, n(192), 1),
            branch7x7x3_2=Conv(n(192), n(192), (1, 7)),
            branch7x7x3_3=Conv(n(192), n(192), (7, 1)),
            branch7x7x3_4=Conv(n(192), n(192), 3, 2, 0),
        )
        c += n(320) + n(192)
        for name in ("7b", "7c"):
            setattr(self, f"Mixed_{name}", self.block_e(c, n))
            c = n(320) + 4 * n(384) + n(192)
        self.fc = nn.Linear(c, classes)

    @staticmethod
    def block_a(c: int, n, pool: int) -> Branches:
        thrice = ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]
        return Branches(
            [["branch1x1"], ["branch5x5_1", "branch5x5_2"], thrice, ["mean", "branch_pool"]],
            branch1x1=Conv(c, n(64), 1),
            branch5x5_1=Conv(c, n(48), 1),
            branch5x5_2=Conv(n(48), n(64), 5),
            branch3x3dbl_1=Conv(c, n(64), 1),
            branch3x3dbl_2=Conv(n(64), n(96), 3),
            branch3x3dbl_3=Conv(n(96), n(96), 3),
            branch_pool=Conv(c, n(pool), 1),
        )

    @staticmethod
    def block_c(c: int, n, inner: int) -> Branches:
        i = n(inner)
        twice = [f"branch7x7dbl_{k}" for k in range(1, 6)]
        return Branches(
            [["branch1x1"], ["branch7x7_1", "branch7x7_2", "branch7x7_3"], twice, ["mean", "branch_pool"]],
            branch1x1=Conv(c, n(192), 1),
            branch7x7_1=Conv(c, i, 1),
            branch7x7_2=Conv(i, i, (1, 7)),
            branch7x7_3=Conv(i, n(192), (7, 1)),
            branch7x7dbl_1=Conv(c, i, 1),
            branch7x7dbl_2=Conv(i, i, (7, 1)),
            branch7x7dbl_3=Conv(i, i, (1, 7)),
            branch7x7dbl_4=Conv(i, i, (7, 1)),
            branch7x7dbl_5=Conv(i, n(192), (1, 7)),
            branch_pool=Conv(c, n(192), 1),
        )

    @staticmethod
    def block_e(c: int, n) -> Branches:
        i = n(384)
        once = ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")]
        twice = ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")]
        return Branches(
            [["branch1x1"], once, twice, ["mean", "branch_pool"]],
            branch1x1=Conv(c, n(320), 1),
            branch3x3_1=Conv(c, i, 1),
            branch3x3_2a=Conv(i, i, (1, 3)),
            branch3x3_2b=Conv(i, i, (3, 1)),
            branch3x3dbl_1=Conv(c, n(448), 1),
            branch3x3dbl_2=Conv(n(448), i, 3),
            branch3x3dbl_3a=Conv(i, i, (1, 3)),
            branch3x3dbl_3b=Conv(i, i, (3, 1)),
            branch_pool=Conv(c, n(192), 1),
        )

    def forward(self, x):
        x = functional.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return self.fc(x.mean((2, 3)))
