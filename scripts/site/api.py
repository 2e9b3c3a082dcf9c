"""The site's pages of the Python reference, made from the docstrings."""

from __future__ import annotations

import inspect
from itertools import takewhile
from pydoc import locate

from torch import nn

from nes2net.detector import Detector
from nes2net.models.network import Network

#: The first methods on the page of the detector, in this order.
FIRST = [
    *(
        "from_pretrained",
        "score",
        "score_files",
        "score_batch",
        "score_track",
        "stream",
        "frame_scores",
        "segment",
        "decide",
    ),
    *("embed", "save", "push_to_hub", "from_config", "set_precision", "compile"),
]
#: Page → its title, what it says first, and the modules and objects it shows.
API = {
    "detector": (
        "Detector",
        "A detector takes a waveform and gives a score. [Python](/python.md) shows it at work.",
        ["nes2net.detector.Detector", "nes2net.lib.errors.InputError"],
    ),
    "parts": (
        "Parts",
        "Front-ends, aggregations and back-ends, made by their names, and what a part of your own is a subclass of "
        "([how to add one](/extending.md)). [Options of parts](/reference/part-options.md) lists what each "
        "name takes.",
        [
            "nes2net.models.registry.create_frontend",
            "nes2net.models.registry.create_aggregation",
            "nes2net.models.registry.create_backend",
            "nes2net.models.frontends.base.Frontend",
            "nes2net.models.frontends.base.UsedSamples",
            "nes2net.models.frontends.adaptation.Adaptation",
            "nes2net.models.frontends.adaptation.adapt",
            "nes2net.models.frontends.adaptation.merge",
            "nes2net.models.aggregations.base.Aggregation",
            "nes2net.models.backends.base.Backend",
            "nes2net.models.backends.base.LogitLayer",
        ],
    ),
    "checkpoints": (
        "Checkpoint files",
        "Reading and averaging files of weights, of which nothing is run, and what can be had by name. See "
        "[Checkpoints](/checkpoints.md).",
        [
            "nes2net.models.checkpoints.state_dict.load_state_dict",
            "nes2net.models.checkpoints.averaging.average_checkpoints",
            "nes2net.training.averaging.average",
            "nes2net.training.averaging.RunAverage",
            "nes2net.models.catalogue.list_models",
            "nes2net.apps.registry.export",
        ],
    ),
    "scoring": (
        "Scoring",
        "A corpus to a score file, and scores along a recording. See [Score](/score.md).",
        [
            "nes2net.scoring.corpus.judge_trials",
            "nes2net.scoring.engine.Finished",
            "nes2net.scoring.score_file.read_scores",
            "nes2net.scoring.corpus.ScoringSettings",
            "nes2net.scoring.judgement.Judgement",
            "nes2net.evaluation.judgements.Scores",
            "nes2net.evaluation.judgements.Frames",
            "nes2net.evaluation.judgements.Rows",
            "nes2net.scoring.embeddings.Embeddings",
            "nes2net.scoring.track.Track",
            "nes2net.scoring.stream.Stream",
            "nes2net.scoring.stream.Scored",
            "nes2net.data.audio.pcm.RawAudio",
            "nes2net.data.audio.pcm.PcmDecoder",
        ],
    ),
    "metrics": (
        "Metrics and evaluation",
        "Arrays in, numbers out; then score files against keys. See [Evaluate](/evaluate.md).",
        [
            "nes2net.metrics",
            "nes2net.metrics.localisation",
            "nes2net.scoring.decisions",
            "nes2net.actions.evaluation.evaluate",
            "nes2net.evaluation.evaluate.SystemEvaluation",
            "nes2net.evaluation.segments.SegmentEvaluation",
            "nes2net.metrics.registry.Metric",
            "nes2net.evaluation.result.Result",
            "nes2net.evaluation.tables.Table",
            "nes2net.evaluation.tables.Row",
            "nes2net.evaluation.tables.Figure",
        ],
    ),
    "augment": (
        "Augmentation",
        "What may happen to a waveform, in training and under `nes2net robustness`. `nes2net augment` makes it heard; "
        "[how to add an effect](/extending.md#an-effect).",
        [
            "nes2net.data.augment.effect",
            "nes2net.data.augment.sources.Sources",
            "nes2net.data.augment.rawboost.rawboost",
            "nes2net.data.augment.rawboost.RawBoostParameters",
            "nes2net.data.augment.noise.NoiseAugmentation",
        ],
    ),
    "training": (
        "Recipes and training",
        "[Recipe keys](/reference/recipe-keys.md) has every key of a recipe; see also [Train](/train.md).",
        [
            "nes2net.training.recipes.reading.load_recipe",
            "nes2net.training.recipes.reading.packaged_recipes",
            "nes2net.training.recipes.recipe.Recipe",
            "nes2net.training.run.train",
            "nes2net.training.callback.Callback",
        ],
    ),
    "corpora": (
        "Corpora",
        "What a corpus is to this package; [how to add one](/extending.md#a-corpus).",
        [
            "nes2net.data.corpora.corpus",
            "nes2net.data.corpora.layout",
            "nes2net.data.corpora.folders",
            "nes2net.data.corpora.part",
            "nes2net.data.corpora.trial",
        ],
    ),
    "scale": (
        "Many machines",
        "Collections of millions of recordings on Ray Data. See [Score at scale](/scale.md).",
        [
            "nes2net.apps.scale.collection.score_collection",
            "nes2net.apps.scale.results.CollectionRecord",
            "nes2net.apps.scale.cluster.Resources",
            "nes2net.apps.scale.engine.Model",
            "nes2net.apps.scale.results.to_score_file",
        ],
    ),
}


def pages() -> dict[str, str]:
    """Write all pages: name of the page → Markdown."""
    return {
        name: "\n\n".join([f"# {title}", opening, *(f"```{{eval-rst}}\n{shown(path)}\n```" for path in objects)]) + "\n"
        for name, (title, opening, objects) in API.items()
    }


def shown(path: str) -> str:
    """Write the directives of Sphinx's autodoc that show the object at ``path``.

    A package shows the names in its ``__all__``. The detector shows the methods of :data:`FIRST`
    before its other members.
    """
    documented = locate(path)
    if documented is not Detector:
        directive = "autofunction"
        if inspect.ismodule(documented):
            directive = "automodule"
        elif inspect.isclass(documented):
            directive = "autoclass"
        return f".. {directive}:: {path}"
    bases = list(takewhile(lambda base: base is not nn.Module, Detector.__mro__))
    inside = sorted({name for base in bases for name in vars(base) if not name.startswith("_")} - set(FIRST))
    first, remaining = (
        [
            f".. auto{'property' if isinstance(getattr(Detector, name), property) else 'method'}:: {name}"
            for name in names
        ]
        for names in (FIRST, inside)
    )
    lines = [f".. autoclass:: {path}", ":no-members:", "", *first, "", ".. rubric:: Inside", "", *remaining]
    network = [f".. autoclass:: {Network.__module__}.Network", ":no-members:"]
    blocks = (lines, network)
    return "\n\n".join("\n   ".join(block) for block in blocks)
