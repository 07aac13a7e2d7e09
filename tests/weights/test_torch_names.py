"""Names and layouts of torchvision and timm, without PyTorch: against loops over every index and lists written by hand."""

import numpy as np
import pytest

from dlkit.errors import CheckpointError
from dlkit.models import build_model
from dlkit.weights.torch_names import _places, flattened_inputs, from_torch


def test_every_layout(rng):
    """LeNet-5: convolutions, a linear layer behind 5×5 maps of 16 channels, linear layers behind features."""
    model = build_model("lenet5", (32, 32, 1), 10)
    own = model.state_dict()
    theirs = {}
    for name, w in own.items():
        if w.ndim == 4:
            t = np.empty((w.shape[3], w.shape[2], *w.shape[:2]), np.float32)
            for r, s, c, k in np.ndindex(*w.shape):
                t[k, c, r, s] = w[r, s, c, k]
        elif name == "layers.5.weight":  # row (h, w, c) of ours is column (c, h, w) of theirs
            t = np.empty(w.shape[::-1], np.float32)
            for h, x, c in np.ndindex(5, 5, 16):
                t[:, (c * 5 + h) * 5 + x] = w[(h * 5 + x) * 16 + c]
        else:
            t = w.T if w.ndim == 2 else w
        theirs[name] = t
    got = from_torch("lenet5", model, (32, 32, 1), theirs)
    assert got.keys() == own.keys()
    for name in own:
        np.testing.assert_array_equal(got[name], own[name], err_msg=name)
    assert flattened_inputs(model, (32, 32, 1)) == {"layers.5": (5, 5, 16)}
    as_convolution = {**theirs, "layers.5.weight": theirs["layers.5.weight"].reshape(120, 16, 5, 5)}
    np.testing.assert_array_equal(
        from_torch("lenet5", model, (32, 32, 1), as_convolution)["layers.5.weight"], own["layers.5.weight"]
    )


@pytest.mark.parametrize("name", ["layers.0.weight", "layers.5.weight"])
def test_a_weight_with_a_strange_number_of_axes_is_named(name):
    model = build_model("lenet5", (32, 32, 1), 10)
    with pytest.raises(CheckpointError, match=f"'{name}' has shape \\(2, 2, 2\\)"):
        from_torch("lenet5", model, (32, 32, 1), {name: np.zeros((2, 2, 2))})


def tensors(layers):
    return {f"{layer}.weight": np.zeros(1) for layer in layers}


def layers_of(name, size=64, **options):
    model = build_model(name, (size, size, 3), 5, **options)
    return list(dict.fromkeys(n.rpartition(".")[0] for n, _ in model.named_parameters()))


def test_vgg_and_alexnet_skip_what_dlkit_has_inside_its_layers():
    own = layers_of("vgg11", width=2)
    there = [f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)] + [f"classifier.{i}" for i in (0, 3, 6)]
    here = [f"features.{i}" for i in (0, 2, 4, 5, 7, 8, 10, 11)] + [f"classifier.{i}" for i in (1, 3, 5)]
    assert _places("vgg11", own, tensors(reversed(there))) == dict(zip(there, here))
    timm = [*there[:8], "pre_logits.fc1", "pre_logits.fc2", "head.fc"]
    assert _places("vgg11", own, tensors(timm)) == dict(zip(timm, here))
    own = layers_of("alexnet", width=4)
    there = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    here = [f"features.{i}" for i in (0, 2, 4, 5, 6)] + [f"classifier.{i}" for i in (2, 4, 5)]
    assert _places("alexnet", own, tensors(there)) == dict(zip(there, here))


def test_mobilenet_v2_by_both_names():
    own = layers_of("mobilenet_v2", width=8)
    pairs = {  # torchvision, timm, dlkit
        "features.0.0": ("conv_stem", "features.0.conv"),
        "features.0.1": ("bn1", "features.0.bn"),
        "features.1.conv.0.0": ("blocks.0.0.conv_dw", "features.1.conv.0.conv"),
        "features.1.conv.2": ("blocks.0.0.bn2", "features.1.conv.1.bn"),
        "features.2.conv.0.0": ("blocks.1.0.conv_pw", "features.2.conv.0.conv"),
        "features.11.conv.1.1": ("blocks.4.0.bn2", "features.11.conv.1.bn"),
        "features.17.conv.2": ("blocks.6.0.conv_pwl", "features.17.conv.2.conv"),
        "features.18.1": ("bn2", "features.18.bn"),
        "classifier.1": ("classifier", "classifier.1"),
    }
    blocks = ["features.1.conv.0.0", "features.1.conv.0.1", "features.1.conv.1", "features.1.conv.2"]
    for n in range(2, 18):
        blocks += [f"features.{n}.conv.{i}" for i in ("0.0", "0.1", "1.0", "1.1", "2", "3")]
    there = ["classifier.1", *blocks, "features.18.0", "features.18.1", "features.0.0", "features.0.1"]
    by_torchvision = _places("mobilenet_v2", own, tensors(there))
    assert set(by_torchvision.values()) == set(own)
    by_timm = _places("mobilenet_v2", own, tensors(timm for timm, _ in pairs.values()))
    for torchvision, (timm, here) in pairs.items():
        assert by_torchvision[torchvision] == by_timm[timm] == here
