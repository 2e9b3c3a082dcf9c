"""Everything that is not about speech: files, processes, devices, the terminal and messages.

Read ``errors`` first. ``files``, ``plain_data``, ``yaml_text``, ``text_files``, ``http_files`` and
``unpacking`` read untrusted files. ``options`` checks the options of a detector's parts.
``commands`` and ``command_line`` turn functions into commands. ``processes``, ``workers`` and
``devices`` are about computing. ``terminal``, ``progress``, ``templates`` and ``pictures`` are
about output.

These modules import nothing from the other packages of nes2net.
"""
