"""Score collections of millions of recordings on Ray Data, shard by shard.

:func:`nes2net.apps.scale.collection.score_collection` scores a whole collection, and resumes after
an interruption. For pipelines of one's own, :func:`nes2net.apps.scale.engine.read` makes a Ray
dataset of recordings, and :func:`nes2net.apps.scale.engine.score` scores such a dataset.
"""
