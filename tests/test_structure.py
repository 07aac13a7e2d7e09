"""Arrows point downwards only: no module imports from a layer above its own; the light ones stay light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "dlkit"
# from the bottom up; a module may import from its own layer and from those before it
LAYERS = [
    {"errors", "registry", "random", "threads", "memory", "_native", "jit", "userfile"},
    {"backends"},
    {"tensor", "tape", "symbol", "ops"},
    {"nn", "data", "layers"},
    {"optim", "models", "weights"},
    {"train", "onnx"},
    {"gradients", "explain", "doctor", "bench", "sklearn", "search", "visualize"},
    {"inpaint"},
    {"cli"},
]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}
FILES = sorted([*SOURCE.rglob("*.py"), *(ROOT / "cli").glob("*.py")])


def layer_of(path):
    relative = path.relative_to(ROOT / "cli" if path.is_relative_to(ROOT / "cli") else SOURCE)
    return "cli" if path.is_relative_to(ROOT / "cli") else relative.parts[0].removesuffix(".py")


def imported_layers(path):
    package = ["dlkit", *path.relative_to(SOURCE).parent.parts] if path.is_relative_to(SOURCE) else ["dlkit", "cli"]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module] if module != "dlkit" else [f"dlkit.{a.name}" for a in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "dlkit" and len(parts) > 1 and parts[1] in RANK:
                yield parts[1]


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.name != "__init__.py" or f.parent != SOURCE], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_downwards(path):
    layer = layer_of(path)
    assert layer in RANK, f"{layer} has no place in the picture"
    above = {name for name in imported_layers(path) if RANK[name] > RANK[layer]}
    if layer in ("tape", "ops"):  # the tape names Tensor's type; these four are one layer
        above -= {"tensor", "tape", "symbol", "ops"}
    assert not above, f"{path.name} is in layer {layer} but imports {', '.join(sorted(above))} from above"


def test_no_op_or_layer_asks_which_backend_runs():
    for path in [*(SOURCE / "ops").glob("*.py"), *(SOURCE / "nn").glob("*.py")]:
        text = path.read_text()
        assert "current_backend" not in text, path
        assert "import numpy.linalg" not in text, path


def test_the_reference_backend_needs_numpy_alone():
    for path in (SOURCE / "backends" / "reference").glob("*.py"):
        roots = {
            (n.names[0].name if isinstance(n, ast.Import) else n.module or "").split(".")[0]
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, (ast.Import, ast.ImportFrom))
        }
        assert roots <= {"numpy", "math", "functools", "dlkit", "__future__"}, path
