"""The file of an experiment on the corpus of a few seconds, with detectors that train in a second."""

from pathlib import Path
from typing import Any

from nes2net.machine.yaml_text import write_yaml

#: A second evaluation set.
LA = {"name": "LA", "corpus": "asvspoof2021_la", "root": "${data}", "samples": 8000}


def experiment_file(folder: Path, corpus: Path, **changes: Any) -> Path:
    """Write ``experiment.yaml`` with ``changes`` to ``folder``: two seeds, two averages, one evaluation set."""
    overrides = {
        "name": "tiny",
        "ssl_checkpoint": None,
        "model.frontend": {"name": "lps", "n_fft": 128, "num_bins": 20},
        "model.backend": "mean_linear",
        "data.root": "${data}",
        "data.num_samples": 8000,
        "data.num_workers": 0,
        "augment.algo": 0,
        "train.epochs": 2,
        "train.batch_size": 4,
        "train.lr": 1e-2,
        "train.keep": "all",
    }
    values = {
        "name": "tiny",
        "recipe": "asvspoof2019_nes2net_x",
        "seeds": [1, 2],
        "averages": [1, 2],
        "evaluate": [
            {"name": "wild", "corpus": "in_the_wild", "root": "${data}/release_in_the_wild", "protocol": "full"},
        ],
        "num_resamples": 20,
        "places": {"data": str(corpus)},
        **changes,
    }
    values["overrides"] = {**overrides, **changes.get("overrides", {})}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "experiment.yaml"
    path.write_text(write_yaml(values))
    return path
