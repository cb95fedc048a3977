"""What pyproject.toml cannot say: the wheel brings the compiled CPU kernels."""

import runpy
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

NATIVE = runpy.run_path(str(Path(__file__).parent / "kernels" / "native" / "build.py"))


class BuildWithKernels(build_py):
    """Compile the kernels into the built package; without a compiler they are made on first use."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the sources are in reach, and change
        folder = Path(self.build_lib) / "sglang_kimi" / "kernels" / "native"
        for variant in NATIVE["VARIANTS"]:
            try:
                NATIVE["compile_library"](folder, variant)
            except NATIVE["BuildError"] as error:
                print(f"warning: the wheel has no {variant} CPU kernels: {error}", file=sys.stderr)


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and any Python: the library has a C interface."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


class DistributionWithKernels(Distribution):
    """Says that the package is not pure Python."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=DistributionWithKernels,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
)
