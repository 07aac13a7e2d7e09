"""Builds dlkit's native kernels; everything else about the package stands in pyproject.toml.

One extension module per file csrc/cython/<name>.pyx. It is linked with csrc/common/*.c and csrc/<name>/*.c, compiled
once, and with csrc/kernels/<name>/*.c, compiled once for each instruction set; the CPU's best is chosen at run time
(csrc/include/dl_isa.h). A compiler without OpenMP gives a build with one thread; `dlkit doctor` says so.
"""

from __future__ import annotations

import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
DEBUG = os.environ.get("DLKIT_BUILD_DEBUG") == "1"  # bounds checks in Cython, -O1 -g in C
X86 = platform.machine().lower() in {"x86_64", "amd64"}
ISAS = {"baseline": [], "avx2": ["-march=x86-64-v3"], "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
if not X86:
    ISAS = {"baseline": []}
WIDE = os.environ.get("DLKIT_BUILD_WIDE") == "1"  # a build for tests alone: csrc/include/dl_isa.h
if WIDE:
    ISAS["avx512"] = [*ISAS["avx2"], "-DDL_WIDE"]
OPTIMIZE = ["-O1", "-g"] if DEBUG else ["-O3"]
# IEEE semantics stay (NaN checks, gradient checks); only what no result depends on is given up.
OPTIMIZE += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-std=gnu11"]


class BuildKernels(build_ext):
    def build_extensions(self) -> None:
        self.openmp = self._openmp_flags()
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        name = ext.name.rpartition(".")[2]
        macros = [("DL_WITH_X86_ISAS", "1")] if X86 else []
        ext.define_macros += [("DL_WIDE", "1")] if WIDE else []
        flags = OPTIMIZE + self.openmp
        ext.define_macros += macros
        ext.extra_compile_args += flags
        ext.extra_link_args += self.openmp
        sources = sorted(str(p) for p in (CSRC / "kernels" / name).glob("*.c"))

        def compile_for(isa: str) -> list[str]:
            return self.compiler.compile(
                sources,
                output_dir=str(Path(self.build_temp) / isa),
                macros=[*macros, ("DL_ISA", isa)],
                include_dirs=ext.include_dirs,
                extra_postargs=flags + ISAS[isa],
                depends=ext.depends,
            )

        with ThreadPoolExecutor() as pool:  # the compilers are processes of their own
            for objects in pool.map(compile_for, ISAS):
                ext.extra_objects += objects
        super().build_extension(ext)

    def _openmp_flags(self) -> list[str]:
        """["-fopenmp"] if a program with it compiles and links, else []. DLKIT_BUILD_OPENMP=0 leaves it out."""
        if os.environ.get("DLKIT_BUILD_OPENMP") == "0":
            return []
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, str(Path(folder) / "probe"), extra_postargs=["-fopenmp"])
            except Exception:
                print("dlkit: this compiler has no OpenMP; the kernels will use one thread")
                return []
        return ["-fopenmp"]


def extension(pyx: Path) -> Extension:
    name = pyx.stem
    sources = [pyx, *sorted((CSRC / "common").glob("*.c")), *sorted((CSRC / name).glob("*.c"))]
    depends = [
        *CSRC.glob("include/*.h"),
        *(CSRC / "kernels" / name).glob("*"),
        *(CSRC / name).glob("*.h"),
        *CSRC.glob("cython/*.pxd"),
    ]
    return Extension(
        f"dlkit._native.{name}",
        [str(s) for s in sources],
        include_dirs=[str(CSRC / "include"), numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        depends=[str(d) for d in depends],
    )


PACKAGES = {"dlkit": "src/dlkit", "dlkit.cli": "cli"}

setup(
    package_dir=PACKAGES,
    packages=[
        "dlkit.cli",
        *sorted(".".join(p.parent.relative_to("src").parts) for p in Path("src/dlkit").rglob("__init__.py")),
    ],
    package_data={"dlkit": ["py.typed"]},
    ext_modules=cythonize(
        [extension(pyx) for pyx in sorted((CSRC / "cython").glob("*.pyx"))],
        include_path=[str(CSRC / "cython")],
        build_dir="build",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": DEBUG,
            "embedsignature": True,
        },
    ),
    cmdclass={"build_ext": BuildKernels},
)
