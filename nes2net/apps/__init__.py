"""Applications of the tool: folders that can be deleted, because nothing imports them.

``serve`` is a page that plays recordings and shows their scores. ``report`` explains one recording
in plain words. ``explanation`` finds the parts of a recording that move its score. ``robustness``
scores the same trials clean and under conditions such as noise. ``scale`` scores collections of
millions of recordings on Ray Data. ``experiments`` runs whole experiments and reproduces published
results. ``export`` writes a detector in other formats. ``info`` says what a name or a file is, and
how fast a model runs on this machine. ``registry`` names all commands. An app may import everything
except ``cli`` and other apps.
"""
