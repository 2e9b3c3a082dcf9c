"""The files of tests/golden are those that were compared, to the bit, with the whole reference folder."""

import hashlib

from builders import golden

#: SHA-256 of the names and bytes of all files but the README.
DIGEST = "b5ad24e1d046b75f04f1ffb431b7ed5c3da2ba0a1e5910218d355b8d7e061006"
MEGABYTE = 1_000_000


def test_the_golden_files_are_unchanged_and_take_less_than_10_mb():
    """A new file changes the digest."""
    digest = hashlib.sha256()
    size = 0
    for path in sorted(golden.FOLDER.rglob("*.*")):
        if path.suffix != ".md":
            content = path.read_bytes()
            digest.update(path.name.encode() + content)
            size += len(content)
    assert digest.hexdigest() == DIGEST
    assert size < 10 * MEGABYTE
