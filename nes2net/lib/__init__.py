"""What knows nothing about speech: files, processes, devices, the terminal and the messages.

In reading order: ``errors``; ``files``, ``plain_data``, ``yaml_text``, ``text_files``,
``http_files`` and ``unpacking``, which read what strangers wrote; ``options``, ``commands`` and
``command_line``, which make parts and commands of functions; ``processes``, ``workers`` and
``devices``; ``terminal``, ``progress``, ``templates`` and ``pictures``.

Imports no other district.
"""
