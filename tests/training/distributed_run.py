"""Run by torchrun in several processes: trains the recipes it is given one after the other, and notes what each process opens to write."""

import builtins
import json
import os
import sys
from pathlib import Path


def main(folder: str, recipes: list[str]) -> None:
    from nes2net.config import load_recipe
    from nes2net.training.run import train

    written, real_open = [], builtins.open

    def watched(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            written.append(str(file))
        return real_open(file, mode, *args, **kwargs)

    builtins.open = watched
    for recipe in recipes:
        train(load_recipe(recipe), "cpu")
    builtins.open = real_open
    Path(folder, f"rank{os.environ['RANK']}.json").write_text(json.dumps(written))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
