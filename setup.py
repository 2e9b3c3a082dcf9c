"""What pyproject.toml cannot say: a wheel has the recipes of configs/ inside the package."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copy the package, and the recipes into it; a checkout reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copytree("configs", Path(self.build_lib, "nes2net/training/recipes/published"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithRecipes})
