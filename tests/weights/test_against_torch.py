"""Random weights under torchvision's and timm's names give the same outputs in dlkit as in PyTorch."""

import numpy as np
import pytest

from dlkit.models import build_model
from dlkit.nn import inference
from dlkit.tensor import Tensor
from dlkit.weights.torch_names import from_torch

torch = pytest.importorskip("torch")
import torch_networks as nets  # noqa: E402 - it needs torch

CLASSES, TOLERANCE = 7, 1e-4  # of outputs, relative to the largest


def same(state):
    return state


# dlkit's name, its options, pixels, PyTorch's module, its tensors under the names of the file
CASES = {
    "alexnet": ("alexnet", {"width": 8}, 96, lambda: nets.AlexNet(CLASSES, 8), same),
    "vgg11": ("vgg11", {"width": 4}, 64, lambda: nets.VGG(11, CLASSES, 4, False), same),
    "vgg11-timm": ("vgg11", {"width": 4}, 64, lambda: nets.VGG(11, CLASSES, 4, False), nets.timm_vgg),
    "vgg16_bn": ("vgg16", {"width": 4, "batch_norm": True}, 96, lambda: nets.VGG(16, CLASSES, 4, True), same),
    "resnet18": ("resnet18", {"width": 8}, 64, lambda: nets.ResNet((2, 2, 2, 2), False, CLASSES, 8), same),
    "resnet50": ("resnet50", {"width": 8}, 64, lambda: nets.ResNet((3, 4, 6, 3), True, CLASSES, 8), same),
    "mobilenet_v2": ("mobilenet_v2", {"width": 8}, 64, lambda: nets.MobileNetV2(CLASSES, 8), same),
    "mobilenet_v2-timm": (
        "mobilenet_v2",
        {"width": 8},
        64,
        lambda: nets.MobileNetV2(CLASSES, 8),
        nets.timm_mobilenet_v2,
    ),
    "inception_v1": ("inception_v1", {"width": 8, "auxiliary": True}, 96, lambda: nets.GoogLeNet(CLASSES, 8), same),
    "inception_v3": ("inception_v3", {"width": 4, "auxiliary": True}, 139, lambda: nets.InceptionV3(CLASSES, 4), same),
}


def randomised(module):
    """Weights that keep the signal's size, batch norm with statistics of its own, all from one seed."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1)
            elif isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.2)
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def tensors_of(module, rename):
    return {name: t.numpy() for name, t in rename(module.state_dict()).items()}


@pytest.mark.parametrize("case", CASES)
def test_outputs_agree(case):
    name, options, size, build, rename = CASES[case]
    theirs = randomised(build())
    model = build_model(name, (size, size, 3), CLASSES, **options)
    model.load_state_dict(from_torch(name, model, (size, size, 3), tensors_of(theirs, rename)))
    x = np.random.default_rng(1).standard_normal((2, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    with inference(model):
        got = model(Tensor(x)).numpy()
    assert np.abs(expected).max() > 1e-3
    assert np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 10 * TOLERANCE * np.abs(expected).max()  # the images are told apart


def test_auxiliary_heads_agree():
    """The flattened 4×4 maps in front of a head's linear layer are turned to dlkit's order, too."""
    theirs = randomised(nets.GoogLeNet(CLASSES, 8))
    model = build_model("inception_v1", (96, 96, 3), CLASSES, width=8, auxiliary=True)
    model.load_state_dict(from_torch("inception_v1", model, (96, 96, 3), tensors_of(theirs, same)))
    for head in ("aux1", "aux2"):
        channels = getattr(theirs, head).conv.conv.in_channels
        x = np.random.default_rng(1).standard_normal((2, 6, 6, channels)).astype(np.float32)
        with torch.no_grad():
            expected = getattr(theirs, head)(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
        with inference(model):
            got = getattr(model, head)(Tensor(x)).numpy()
        assert np.abs(got - expected).max() <= TOLERANCE * np.abs(expected).max()
