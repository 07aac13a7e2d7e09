"""Data sets known by name, the only list of them: their files, where they come from, their SHA256."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .formats import cifarbin, digits


@dataclass(frozen=True)
class File:
    name: str
    sha256: str


@dataclass(frozen=True)
class Known:
    """`files` are downloaded from the first of `bases` that answers. `local` names other files that will do
    when found in the data folder: any one of the groups, complete. `opens` is the file to hand to the format,
    or None for the folder itself. `builtin` needs no file at all."""

    about: str
    files: tuple[File, ...] = ()
    bases: tuple[str, ...] = ()
    local: tuple[tuple[str, ...], ...] = ()
    opens: str | None = None
    classes: tuple[str, ...] | None = None
    builtin: Path | None = None


def _mnist_like(*sha256: str) -> tuple[File, ...]:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(File(f"{part}-ubyte.gz", digest) for part, digest in zip(parts, sha256, strict=True))


TEN = tuple("0123456789")
IDX_PLAIN = tuple(file.name.removesuffix(".gz") for file in _mnist_like("", "", "", ""))
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

KNOWN: dict[str, Known] = {
    "digits": Known("1,797 handwritten digits, 8×8 grey; comes with scikit-learn", builtin=digits.BUILTIN),
    "mnist": Known(
        "60,000 + 10,000 handwritten digits, 28×28 grey",
        _mnist_like(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        local=(IDX_PLAIN,),
        classes=TEN,
    ),
    "fashion-mnist": Known(
        "60,000 + 10,000 articles of clothing, 28×28 grey",
        _mnist_like(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        ),
        local=(IDX_PLAIN,),
        classes=FASHION,
    ),
    "cifar10": Known(
        "50,000 + 10,000 photos of ten things, 32×32 RGB",
        (File("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
        ("https://www.cs.toronto.edu/~kriz",),
        local=(("cifar10-jpg.zip",), tuple(f"data_batch_{i}.bin" for i in range(1, 6))),
        opens="cifar-10-binary.tar.gz",
        classes=cifarbin.CLASSES,
    ),
    "cats": Known(
        "209 + 50 photos, cat or not, 64×64 RGB; not downloadable",
        local=(("train_catvnoncat.h5", "test_catvnoncat.h5"),),
    ),
}
