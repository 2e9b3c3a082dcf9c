"""Everything that is not about speech. It imports nothing from the other packages of nes2net.

Read ``errors`` first. Each package imports only those before it: ``process``, ``output``,
``storage``, ``computing``, ``parts`` (registries and options), ``web``, ``shell`` (commands).
"""
