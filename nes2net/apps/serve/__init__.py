"""A page to listen with, and the same over HTTP.

In reading order: ``server`` answers, ``desk`` queues what ``uploads``, ``drops`` and ``decoding``
took in, and ``app`` and ``page`` show the scores; ``guard`` keeps strangers' requests within
limits.
"""
