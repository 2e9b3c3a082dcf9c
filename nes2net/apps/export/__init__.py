"""A detector in other formats, and running an exported one."""
