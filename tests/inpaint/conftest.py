import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dlkit.inpaint import Job


@pytest.fixture
def photo_of(rng):
    """photo_of(path, mode, size): writes a photo of smooth colours and noise with Pillow, returns its pixels."""

    def make(path, mode="RGB", size=(24, 32), **options):
        H, W = size
        channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
        full, dtype = (65535, np.uint16) if mode == "I;16" else (255, np.uint8)
        i, j, c = np.indices((H, W, channels))
        pixels = 0.5 + 0.4 * np.sin(i / 5 + c) * np.cos(j / 6 - c) + 0.05 * rng.random((H, W, channels))
        pixels = (pixels * full).astype(dtype)
        pixels = pixels[..., 0] if channels == 1 else pixels
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    return make


@pytest.fixture
def mask_of():
    """mask_of(path, size): a white rectangle on black, returns it as bool."""

    def make(path, size=(24, 32), box=(slice(6, 14), slice(8, 20))):
        hole = np.zeros(size, bool)
        hole[box] = True
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(hole.astype(np.uint8) * 255).save(path)
        return hole

    return make


ISAS = ["baseline", "avx2", "avx512"]


@pytest.fixture(params=ISAS)
def array_by_isa(request, tmp_path):
    """(code, arrays) -> `result`, which the code makes of the arrays in a process of its own, with each instruction set here."""
    from dlkit._native import matrix

    isa = request.param
    if ISAS.index(isa) > ISAS.index(matrix.isa_cpu()):
        pytest.skip(f"this CPU or build has no {isa}")

    def run(code, **arrays):
        np.savez(tmp_path / "in.npz", **arrays)
        code = (
            f"import numpy as np; from dlkit._native import matrix; assert matrix.isa_name() == {isa!r};"
            f"globals().update(np.load('in.npz'));{code};np.save('out.npy', result)"
        )
        environment = {**os.environ, "DLKIT_ISA": isa}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
        return np.load(tmp_path / "out.npy")

    return run


class Clock(Job):
    """A job whose time is up after so many looks at the clock."""

    looks = 0

    def expired(self):
        self.looks -= 1
        return self.looks < 0


@pytest.fixture
def time_for():
    """looks -> a job with time for so many of them"""

    def job(looks):
        clock = Clock()
        clock.looks = looks
        return clock

    return job
