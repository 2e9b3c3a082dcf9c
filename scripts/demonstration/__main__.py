"""``python scripts/demonstration --out DIR``: see the package's docstring."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")  # before NumPy is loaded, because the processes share the cores
    # By default glibc returns the memory of an array of a clip's length at once. With these limits the processes keep it.
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from demonstration.build import main

    sys.exit(main())
