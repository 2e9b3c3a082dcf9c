"""Applications of the tool: folders that can be deleted, because nothing imports them.

``serve`` is a page to listen with, and the same over HTTP; ``scale`` scores collections of millions
of recordings on Ray Data; ``explanation`` says what moves a score; ``robustness`` scores the same
trials under conditions; ``experiments`` runs whole experiments and reproduces published results;
``export`` writes a detector in other formats; ``info`` says what a name or a file is, and how fast
a model runs here. The command line finds their commands by name. An app imports all districts but
``cli``, and no other app.
"""
