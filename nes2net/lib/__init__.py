"""What the machine gives: atomic files, locks, devices, processes, worker counts."""
