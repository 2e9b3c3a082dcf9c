"""Train recipes one after the other, all but the first with little memory; print the message of each error.

    python little_memory.py BYTES RECIPE…

The first recipe loads the libraries. The others may take BYTES more than it has left taken.
"""

import resource
import sys
from pathlib import Path

from nes2net import InputError
from nes2net.recipes.reading import load_recipe
from nes2net.training.run import train


def main(spare: int, first: str, *others: str) -> None:
    train(load_recipe(first), "cpu")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + spare, resource.RLIM_INFINITY))
    for recipe in others:
        try:
            train(load_recipe(recipe), "cpu")
        except InputError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
