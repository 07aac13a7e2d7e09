"""Networks: modules, layers, losses, initial weights."""

from dlkit.nn.init import INITS
from dlkit.nn.layers import (
    ACTIVATIONS,
    ELU,
    GELU,
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Pad2d,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Upsample,
)
from dlkit.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    l2_penalty,
)
from dlkit.nn.module import Buffer, Module, Parameter, Sequential, inference, observe_modules

__all__ = [
    "ACTIVATIONS", "ELU", "GELU", "INITS", "Activation", "AdaptiveAvgPool2d", "AvgPool2d", "BCELoss",
    "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Buffer", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss",
    "Dropout", "Flatten", "GlobalAvgPool2d", "GroupNorm", "HuberLoss", "InstanceNorm2d", "L1Loss", "LayerNorm",
    "LeakyReLU", "Linear", "MSELoss", "MaxPool2d", "Module", "Pad2d", "Parameter", "ReLU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Softplus", "Tanh", "Upsample", "inference", "l2_penalty", "observe_modules",
]
