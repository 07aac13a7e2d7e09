"""The reference backend: every kernel of the contract in plain NumPy, written to be obviously right.

Read this first. Each function says its formula and, where there is one, the paper the formula comes from.
Nothing here is optimised: it is the specification, the oracle that the fast backends are tested against, and
the fallback for calls they decline. Shapes, letters and meanings stand in `dlkit.backends.contract`.

    transfer      arrays in and out               matmul     products of matrices, the linear layer
    elementwise   + - * / < and friends           conv       convolution as im2col and one product
    activation    y = f(x) and its slope          pool       max and mean over windows
    reduce        sum, max, argmax                norm       batch, layer, group, instance normalisation
    shape         views, take, gather, pad        resample   nearest and bilinear enlargement
    loss          cross-entropy                   optim      SGD, RMSprop, Adam, in place
"""

# ruff: noqa: F403 - each file's kernels become attributes of this module
from dlkit.backends.reference.activation import *
from dlkit.backends.reference.conv import *
from dlkit.backends.reference.elementwise import *
from dlkit.backends.reference.loss import *
from dlkit.backends.reference.matmul import *
from dlkit.backends.reference.norm import *
from dlkit.backends.reference.optim import *
from dlkit.backends.reference.pool import *
from dlkit.backends.reference.reduce import *
from dlkit.backends.reference.resample import *
from dlkit.backends.reference.shape import *
from dlkit.backends.reference.transfer import *
