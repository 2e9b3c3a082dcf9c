"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nes2net")
except PackageNotFoundError:  # the source tree is used without installation
    __version__ = "0+unknown"
