"""The flags and printed lines of the published programs."""
