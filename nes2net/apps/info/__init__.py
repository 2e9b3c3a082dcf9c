"""What a name, a file or a recipe is, and how fast this machine runs it.

In reading order: ``names``, ``identify`` and ``files`` find out what is meant; ``info``,
``overview`` and ``sheet`` tell it; ``benchmark`` and ``training_memory`` measure a model here.
"""
