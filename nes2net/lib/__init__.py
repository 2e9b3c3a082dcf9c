"""Everything that is not about speech: files, processes, devices, the terminal and messages.

In reading order: ``errors``; ``files``, ``plain_data``, ``yaml_text``, ``text_files``,
``http_files`` and ``unpacking``, which read untrusted files; ``options``, ``commands`` and
``command_line``, which turn functions into parts and commands; ``processes``, ``workers`` and
``devices``; ``terminal``, ``progress``, ``templates`` and ``pictures``.

These modules import nothing from the other packages of nes2net.
"""
