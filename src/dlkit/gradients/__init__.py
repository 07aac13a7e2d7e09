"""Is a gradient right? Backward against differences, for dlkit's own ops, layers and networks and for anyone's code.

gradcheck(fn, inputs)          a report on a function of tensors, a Module, or a forward with its backward
assert_gradients(fn, inputs)   the same as a test
names(), check_all(...)        the registry: every op, layer and network

numeric   differences, complex steps, errors      check      one problem from all sides
report    what was found, printed                 diagnose   what a wrong gradient looks like
ops, layers, models, registry                     dlkit's own
target, function, testing                         a user's
trained                                           a trained network, layer by layer
"""

from dlkit.gradients.function import gradcheck
from dlkit.gradients.registry import check_all, names
from dlkit.gradients.report import Element, GradientReport, Worst
from dlkit.gradients.testing import assert_gradients

__all__ = ["Element", "GradientReport", "Worst", "assert_gradients", "check_all", "gradcheck", "names"]
