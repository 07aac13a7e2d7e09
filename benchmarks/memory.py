"""Peak resident memory of training resnet20 at batch 64 on 32×32×3 images, in a process of its own."""

import resource
import subprocess
import sys

TRAIN = """
import numpy as np
from dlkit.data import ArraySource, Dataset
from dlkit.train import TrainConfig, Trainer
rng = np.random.default_rng(0)
x, y = rng.integers(0, 256, (2048, 32, 32, 3)).astype(np.uint8), rng.integers(0, 10, 2048)
data = Dataset("noise", list("0123456789"), ArraySource(x, y), ArraySource(x[:256], y[:256]))
import sys
config = TrainConfig(model="resnet20", batch_size=64, epochs=1, augment="flip,crop=4", out=sys.argv[1])
Trainer(config, data).fit()
"""


def peak_megabytes(folder: str) -> float:
    subprocess.run([sys.executable, "-c", TRAIN, folder], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(f"training resnet20 at batch 64: {peak_megabytes(folder + '/run'):.0f} MB resident at the peak")
