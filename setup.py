"""Lists the packages; everything else stands in pyproject.toml.

The root of the repository is the package ``thresher``.  No static table can say
"this folder and every package below it, under that name", and a list kept by
hand is forgotten the day a folder is added.
"""

from setuptools import find_packages, setup

setup(
    packages=["thresher", *(f"thresher.{name}" for name in find_packages(exclude=["tests*"]))],
    script_name="setup.py",  # leaves this file out of the root package
)
