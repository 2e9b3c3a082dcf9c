"""The file of an experiment on the corpus of a few seconds, with detectors that train in a second."""

from pathlib import Path

from builders.files import write
from builders.small_parts import SPECTRUM
from nes2net.lib.storage.yaml_text import write_yaml

#: A second evaluation set.
LA = {"name": "LA", "corpus": "asvspoof2021_la", "root": "${data}", "samples": 8000}
#: A published result.
ROW = {
    **{"id": "tiny-2021_la", "system": "Tiny", "train": "asvspoof2019_la", "test": "asvspoof2021_la", "metric": "EER"},
    **{"best": 12.34, "source": "a test", "corpus": "asvspoof2021_la", "protocol": "4sec", "samples": 8000},
}
OVERRIDES = {
    **{"name": "tiny", "ssl_checkpoint": None, "augment.algo": 0, "model.backend": "mean_linear"},
    "model.frontend": SPECTRUM,
    **{"data.root": "${data}", "data.num_samples": 8000, "data.num_workers": 0},
    **{"train.epochs": 2, "train.batch_size": 4, "train.lr": 1e-2, "train.keep": "all"},
}


def experiment_file(folder: Path, corpus: Path, **changes) -> Path:
    """Write ``experiment.yaml`` with ``changes`` to ``folder``: two seeds, two averages, one evaluation set."""
    values = {
        "name": "tiny",
        "recipe": "asvspoof2019_nes2net_x",
        "seeds": [1, 2],
        "averages": [1, 2],
        "evaluate": [
            {"name": "wild", "corpus": "in_the_wild", "root": "${data}/release_in_the_wild", "protocol": "full"}
        ],
        "num_resamples": 20,
        "places": {"data": str(corpus)},
        **changes,
    }
    values["overrides"] = {**OVERRIDES, **changes.get("overrides", {})}
    return write(folder / "experiment.yaml", write_yaml(values))
