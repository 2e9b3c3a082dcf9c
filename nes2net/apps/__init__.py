"""Applications of the tool: folders that can be deleted, because nothing imports them.

``serve`` is a page that plays and scores recordings. ``report`` explains one recording in plain
words. ``explanation`` finds the parts of a recording that move its score. ``robustness`` scores
trials clean and under conditions such as noise. ``scale`` scores millions of recordings on Ray
Data. ``experiments`` runs experiments and reproduces published results. ``export`` writes a
detector in other formats. ``info`` says what a name or a file is. ``bench`` measures speed.
``registry`` names all commands. An app may import everything except ``cli`` and other apps.
"""
