"""Score collections of millions of recordings on Ray Data, shard by shard.

:func:`nes2net.apps.scale.collection.score_collection` scores a whole collection, and resumes after
an interruption. To build another pipeline, use :func:`nes2net.apps.scale.engine.read`, which makes
a Ray dataset of recordings, and :func:`nes2net.apps.scale.engine.score`, which scores such a
dataset.
"""
