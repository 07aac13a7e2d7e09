"""Photos of the largest cameras fit into memory."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

COMMAND = """
import resource, sys
from dlkit.cli.main import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("method", "gigabytes"), [("navier-stokes", 3.0), ("biharmonic", 4.5)])
def test_a_hundred_megapixels(tmp_path, method, gigabytes):
    H, W = 8736, 11648
    row = (np.arange(W) // 16 % 256).astype(np.uint8)
    pixels = np.empty((H, W, 3), np.uint8)
    for c in range(3):
        pixels[..., c] = row + (np.arange(H) // (8 * (c + 1)) % 256).astype(np.uint8)[:, None]
    Image.fromarray(pixels).save(tmp_path / "photo.png", compress_level=1)
    i, j = np.ogrid[:H, :W]
    hole = (i - H // 2) ** 2 + (j - W // 2) ** 2 < 0.1 * H * W / np.pi
    Image.fromarray(hole.astype(np.uint8) * 255).save(tmp_path / "mask.png", compress_level=1)
    args = ["inpaint", "photo.png", "mask.png", "-o", "out.bmp", "--method", method]
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, *args], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert 0.5 < float(process.stdout.split()[-1]) < gigabytes
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(tmp_path / "out.bmp") as image:
            filled = np.asarray(image)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    np.testing.assert_array_equal(filled[~hole], pixels[~hole])
