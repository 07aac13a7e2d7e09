"""Filling the masked part of a photo.

from dlkit.inpaint import inpaint
result = inpaint(image, hole)            # image uint8 [H, W, 3], hole bool [H, W]: True = fill
result.image, result.method, result.reason

run      one filling, arrays in, arrays out: crop, fill, feather; known pixels bit-identical
method   what a method is; METHODS, the only list of them        methods/   one file each
choose   method "auto"
spread   what stands in where the time ran out                   tiles      large images in overlapping parts
mask     from a mask's pixels to the hole                        photo      reading and writing image files
file     one filling, files in, files out                        folder     many of them
"""

from dlkit.inpaint import methods  # noqa: F401 - fills METHODS
from dlkit.inpaint.method import METHODS, QUALITIES, Job, Method, method
from dlkit.inpaint.run import Result, inpaint

__all__ = ["METHODS", "QUALITIES", "Job", "Method", "Result", "inpaint", "method"]
