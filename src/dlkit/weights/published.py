"""Published weights, the only list of them: where they are, what they are for, how their input was prepared.

Each is timm's conversion on Hugging Face, a safetensors file. The SHA256 are those Hugging Face's pages show for the files;
where None stands, no such page could be read: the first download is then recorded, and later ones must equal it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dlkit.registry import Registry

HOST = "https://huggingface.co/timm"
FILE = "model.safetensors"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Published:
    """model, options : dlkit's network; mean, std : of pixels from 0 to 1, that inputs were normalised with."""

    name: str
    model: str
    sha256: str | None
    licence: str = "Apache-2.0"
    image_size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{HOST}/{self.name}/resolve/main"

    @property
    def address(self) -> str:
        return f"{self.folder}/{FILE}"

    @property
    def file(self) -> str:
        return f"{self.name}.safetensors"


PUBLISHED: Registry[Published] = Registry("published weights")

_BSD: dict[str, Any] = {"licence": "BSD-3-Clause"}
_NORM: dict[str, Any] = {**_BSD, "options": {"batch_norm": True}}
_HALF = (0.5, 0.5, 0.5)

for _weights in (
    Published("resnet18.a1_in1k", "resnet18", "80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612"),
    Published("resnet34.a1_in1k", "resnet34", None),
    Published("resnet50.a1_in1k", "resnet50", "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb"),
    Published("resnet101.a1_in1k", "resnet101", "1ba5b660e7c175b3c27c557fc7dc8b2815be830c516815b0155f61b403f27380"),
    Published("vgg11.tv_in1k", "vgg11", "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5", **_BSD),
    Published("vgg16.tv_in1k", "vgg16", "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8", **_BSD),
    Published("vgg19.tv_in1k", "vgg19", "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669", **_BSD),
    Published("vgg13_bn.tv_in1k", "vgg13", "7dae235e35772693cd527e7ac9ef8f6594707a14a8d26aabdb83c0baa6847861", **_NORM),
    Published("vgg16_bn.tv_in1k", "vgg16", "88bbedbc8e780413736db38ac4efd41b06fc0e93fd5b8879b584bba63a950129", **_NORM),
    Published("vgg19_bn.tv_in1k", "vgg19", "f8249087e63bae61c6166bb23d7c26efe1b2a43fd9fb5cd60ac6ce00535ba312", **_NORM),
    Published(
        "mobilenetv2_100.ra_in1k", "mobilenet_v2", "55ea4fb3a96010b933710ebf44fc965b070d5cd054d3f35e44f2d1320b4a714e"
    ),
    Published(
        "inception_v3.tv_in1k",
        "inception_v3",
        "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
        image_size=299,
        mean=_HALF,
        std=_HALF,
    ),
):
    PUBLISHED.add(_weights.name, _weights)
