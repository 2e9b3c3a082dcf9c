"""Scoring of collections of millions of recordings on Ray Data, shard by shard.

:func:`nes2net.apps.scale.collection.score_collection` does all of it, and resumes if it was interrupted.
:func:`nes2net.apps.scale.engine.read` and :func:`nes2net.apps.scale.engine.score` are its steps, for pipelines of one's own.
"""
