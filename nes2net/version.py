"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nes2net")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"
