"""Declare each corpus in a module of its own: where its files and keys are, and its official facts."""

from nes2net.data.corpora.part import Part

__all__ = ["Part"]
