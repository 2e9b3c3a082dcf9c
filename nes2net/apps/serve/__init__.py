"""A page that plays recordings and shows their scores, and an HTTP API that returns the scores.

In reading order: ``server`` loads a detector and serves ``app``, which has the API and the files of
the page, in the folder ``static``. ``page`` answers the page. ``uploads`` takes the recording of a
request, ``desk`` scores it, and ``decoding`` decodes it in a separate process.
:mod:`nes2net.lib.web.guard` checks every request first.
"""
