"""Score collections of millions of recordings on Ray Data, shard by shard.

:func:`nes2net.apps.scale.collection.score_collection` scores a whole collection, and resumes after
an interruption.
"""
