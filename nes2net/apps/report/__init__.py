"""A report of one recording, for a reader who never read a paper: an HTML page, or the same as PDF.

In reading order: ``examination`` scores and measures the recording; ``answer`` says the decision in
plain words; ``picture`` draws the recording over time; ``page`` writes the HTML, ``pdf`` the PDF.
"""
