"""Remote files, and servers."""
