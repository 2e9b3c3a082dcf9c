"""A page that plays recordings and shows their scores, and an HTTP API that returns the scores.

In reading order: ``server`` loads a detector and serves ``app``, which has the HTTP API and mounts
``page``. ``desk`` scores the recordings, which ``decoding`` decodes in a separate process.
``uploads`` limits and removes the files that the page sends. ``drops`` checks the page's requests
to score files. ``guard`` checks every request first, and limits the size of the request.
"""
