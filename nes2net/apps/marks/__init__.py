"""Read who made or signed a recording: evidence beside a score.

``perth`` reads the watermark of Resemble AI, ``credentials`` reads Content Credentials (C2PA),
``finding`` has the form of both answers, and ``known`` lists all marks. The registry of evidence names the two readers.
"""
