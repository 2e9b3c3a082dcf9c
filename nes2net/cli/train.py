"""`nes2net train`: train a detector from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from nes2net.cli.next_commands import after_training, print_next
from nes2net.lib.shell.commands import Flag, command_facts


@command_facts(
    about="One process trains on one device. For N devices: torchrun --nproc-per-node N -m nes2net train RECIPE "
    "key=value …, or accelerate launch -m nes2net train …; train.batch_size counts the utterances of all "
    "processes together. The same command resumes an interrupted run (exit status 75 after SIGTERM or on "
    "a full disk, 130 after Ctrl-C; torchrun itself exits with 1 in both cases).",
    names={"root": "data.root", "protocols": "data.protocols"},
)
def train(
    recipe: str,
    overrides: Annotated[Sequence[str], Flag("key=value")] = (),
    *,
    device: str = "auto",
) -> None:
    """Train a detector from a recipe.

    Example:
        nes2net train asvspoof2019_nes2net_x data.root=DB

    Args:
        recipe: YAML file, or name of a packaged recipe, e.g. asvspoof2019_nes2net_x
        overrides: override a key, e.g. data.root=DB train.lr=1e-6; nes2net info recipe lists them
        device: auto, cpu, cuda or cuda:N
    """
    from nes2net.training.recipes.reading import load_recipe
    from nes2net.training.trials import check_folders

    loaded_recipe = load_recipe(recipe, overrides)
    check_folders(loaded_recipe.data)

    from nes2net.training.run import train as run_training  # imported last, because it imports torch

    folder = run_training(loaded_recipe, device)
    print_next(after_training(folder, loaded_recipe))
