"""Ogg files for tests: pages with right checksums, and streams that begin later than at 0."""

import zlib

_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def pages(content):
    """The pages of an Ogg file, each as bytes."""
    all_pages = []
    start = 0
    while content[start : start + 4] == b"OggS":
        num_segments = content[start + 26]
        segments = content[start + 27 : start + 27 + num_segments]
        end = start + 27 + num_segments + sum(segments)
        all_pages.append(content[start:end])
        start = end
    return all_pages


def sealed(page):
    """The page with the checksum of its content (RFC 3533, Sec. 6)."""
    content = page[:22] + bytes(4) + page[26:]
    reversed_checksum = zlib.crc32(content.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    checksum = int(f"{reversed_checksum:032b}"[::-1], 2)
    return content[:22] + checksum.to_bytes(4, "little") + content[26:]


def begun_later(content, num_samples):
    """The same stream with ``num_samples`` added to the granule position of each page of audio."""
    changed = []
    for page in pages(content):
        position = int.from_bytes(page[6:14], "little", signed=True)
        if position > 0:  # 0 on pages of headers, −1 on pages on which no packet ends
            later = (position + num_samples).to_bytes(8, "little", signed=True)
            page = sealed(page[:6] + later + page[14:])
        changed.append(page)
    return b"".join(changed)


def with_input_rate(content, rate):
    """The same Ogg Opus with another rate of the input in its header (RFC 7845, Sec. 5.1)."""
    header = pages(content)[0]
    start = header.index(b"OpusHead") + 12
    changed = header[:start] + rate.to_bytes(4, "little") + header[start + 4 :]
    return sealed(changed) + content[len(header) :]
