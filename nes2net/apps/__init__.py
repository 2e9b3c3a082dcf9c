"""Applications of the tool: folders that can be deleted, because nothing imports them.

``registry`` names all commands. An app may import everything except ``cli`` and other apps.
"""
