"""A report of one recording, for a reader who never read a paper: an HTML page, or the same as PDF.

In reading order: ``examination`` scores and measures the recording; ``answer`` chooses what is said
of the decision; ``picture`` draws the recording; ``page`` writes HTML by templates, which have the
words; ``pdf`` writes the PDF.
"""
