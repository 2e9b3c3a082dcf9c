"""A page that plays recordings and shows their scores, and an HTTP API that returns the scores.

In reading order: ``server`` loads a detector and serves ``app``, which has the HTTP API and mounts
``page``. ``desk`` scores the recordings, which ``decoding`` decodes in a separate process.
``uploads`` manages the files from the page, and ``drops`` checks the page's requests to score them.
``guard`` checks every request first, and limits how much it sends.
"""
