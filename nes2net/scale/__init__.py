"""Scoring of collections of millions of recordings on Ray Data, shard by shard.

:func:`score_collection` does all of it and goes on where it was interrupted. :func:`read` and
:func:`score` are its steps, for pipelines of one's own.
"""

from nes2net.scale.cluster import Resources
from nes2net.scale.collection import Outcome, score_collection
from nes2net.scale.engine import Model, read, score
from nes2net.scale.results import to_score_file

__all__ = ["Model", "Outcome", "Resources", "read", "score", "score_collection", "to_score_file"]
