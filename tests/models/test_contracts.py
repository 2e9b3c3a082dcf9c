"""The contracts of parts: built-in parts keep them, and each planted fault of another package is one line that names it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from builders.command_fixtures import REPOSITORY, command, one_parser  # noqa: F401
from builders.faulty_parts import PACKAGE, PARTS, install
from builders.files import read_json
from builders.runs import same, weights_of
from builders.small_parts import AGGREGATIONS, BACKENDS, FRONTENDS, frontend_families, small_options
from builders.source_tracing import TRACING
from builders.strangers import REGISTRIES
from builders.training_steps import SPECTRUM, STEPS, recipe_of

from nes2net import Detector, create_aggregation, create_backend, create_frontend
from nes2net.cli.main import main
from nes2net.data.augment.conditions import create_condition
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import effects
from nes2net.lib.parts.options import FrontendSizes, fit_options
from nes2net.lib.parts.part_checks import check_part
from nes2net.models import registry
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record
from nes2net.scoring.judgement import as_judgement
from nes2net.scoring.registry import judgements
from nes2net.training.dataset import PreparedTrial
from nes2net.training.losses.by_name import create_loss
from nes2net.training.registry import losses, tasks
from nes2net.training.start import build_detector
from nes2net.training.task_contract import check_task
from nes2net.training.tasks.task import create_task

RECIPE = """
name: tones
date: "0101"
model: {frontend: good_frontend, backend: good_backend}
data: {corpus: good_corpus, root: tones, num_samples: 4000, num_workers: 0}
train: {epochs: 1, batch_size: 4, loss: good_loss}
"""


def forget_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every registry read the entry points again, now and after the test."""
    for part_registry in REGISTRIES.values():
        for attribute in ("_added", "_table"):
            monkeypatch.setitem(vars(part_registry), attribute, None)
            monkeypatch.delitem(vars(part_registry), attribute)


@pytest.fixture(scope="module")
def package_and_corpus(tmp_path_factory) -> Path:
    """A folder with the package of planted faults, a small corpus and a recipe."""
    folder = tmp_path_factory.mktemp("contracts")
    site = folder / "site"
    site.mkdir()
    install(site)
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "eval"):
        (folder / "tones" / split).mkdir(parents=True)
        lines = []
        for number in range(8):
            label = ("genuine", "fake")[number % 2]
            samples = (0.1 + 0.1 * (number % 2)) * rng.standard_normal(8000).clip(-3, 3) / 3
            soundfile.write(folder / "tones" / split / f"{split}_{number}.wav", samples, 16000)
            lines.append(f"{split}_{number} {label}\n")
        (folder / "tones" / f"{split}.txt").write_text("".join(lines))
    (folder / "tones.yaml").write_text(RECIPE)
    return folder


@contextmanager
def inside(folder: Path, source: Path) -> Iterator[pytest.MonkeyPatch]:
    """The package of ``source`` is installed, and its corpus is in the current ``folder``."""
    for name in ("tones", "tones.yaml"):
        (folder / name).symlink_to(source / name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(source / "site"))
        forget_packages(monkeypatch)
        yield monkeypatch
    sys.modules.pop("faulty_parts", None)


@pytest.fixture
def package(tmp_path, package_and_corpus) -> Path:
    """The current folder, with a small corpus; the package of planted faults is installed."""
    with inside(tmp_path, package_and_corpus):
        yield tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, package_and_corpus) -> Path:
    """A checkpoint of a detector whose parts are of another package."""
    folder = tmp_path_factory.mktemp("trained")
    with inside(folder, package_and_corpus):
        assert main(f"{TRAIN} train.task=good_task augment.conditions=[good_effect] output=run".split()) == 0
    return next(folder.glob("run/*/epoch_1.pth"))


TRAIN = "train tones.yaml "
#: Group of parts → the command that uses one of them.
COMMANDS = {
    "backends": "train tones.yaml model.backend.name={}",
    "frontends": "train tones.yaml model.frontend.name={}",
    "aggregations": "train tones.yaml model.aggregation.name={}",
    "losses": "train tones.yaml train.loss={}",
    "tasks": "train tones.yaml train.task={}",
    "judgements": "score good_corpus tones --model good.pth --out out.tsv --judgement {}",
    "corpora": "data check {} tones",
    "effects": "train tones.yaml augment.conditions=[{}]",
}
#: Name of a faulty part → the fault in the message.
FAULTS = {
    "needs_width": "its constructor has no default for 'width'",
    "loud_is_nan": "gave numbers that are not finite for the batch",
    "loud_is_nan_later": "gave numbers that are not finite for the batch",
    "item_inside": "its constructor raised RuntimeError: Tensor.item() cannot be called on meta",
    "raises_inside": "embed raised IndexError: too many indices",
    "table": "its entry point names {'name': 'table'}; expected a part of the class",
    "no_hop_length": "its attribute 'hop_length' is None; expected a whole number",
    "transposed": "forward returned a tensor (2, 4, 12) of float32; expected a tensor of 2 × 12 × 4",
    "numerator_of_rows": "numerator returned a tensor (2,) of float32; expected a tensor of one number",
    "few_denominators": "expected a tensor of 1, a number for each of the denominators",
    "carries_text": "the extra tensor 'speaker' is 'train_",
    "carries_shapes": "the extra tensor 'frames' is a tensor (3,) of float32",
    "nan_figure": "figures returned for 'val_odd_wo_aug' nan; expected a finite number",
    "measure_never": "expected the declared measure 'odd', too, as 'val_odd_wo_aug'",
    "bare_outcome": "outcome returned a tensor () of float32; expected an Outcome",
    "extra_column": "compute returned a tensor (2, 3) of float32; expected a tensor of 2 × 2 (a row for each",
    "scores_of_columns": "score_of returned an array (1, 2) of float32; expected an array of shape (2,)",
    "no_dataclass": "its entry point names NoDataclass; expected a frozen dataclass",
    "another_name": "its attribute 'name' is 'renamed'; expected the name of its entry point, 'another_name'",
    "other_labels": "the label 'genuine'; expected 'bonafide', 'spoof' or None",
    "bare_counts": "its attribute 'counts' is {'train': 8}; expected a mapping of keys",
    "nan_samples": "__call__ returned an array (12000,) of float32; expected finite samples",
}


def group_of(name: str) -> str:
    return next(group for group, names in PARTS.items() if name in names)


def kind_of(name: str) -> str:
    """The word for the part `name` in messages."""
    return REGISTRIES[f"nes2net.{group_of(name)}"].kind


def words_of(name: str) -> str:
    """The command that uses the part `name`."""
    selected = " validation.select_on=odd" if name == "measure_never" else ""
    return COMMANDS[group_of(name)].format(name) + selected


def test_data_check_reports_labels_of_a_corpus_that_are_neither_bona_fide_nor_spoof(package, command):  # noqa: F811
    status, out, _ = command(words_of("other_labels"))
    assert status == 1
    assert FAULTS["other_labels"] in " ".join(out.split())


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "other_labels"])
def test_a_faulty_part_is_refused_by_one_error_that_names_part_package_and_fault(package, checkpoint, command, name):  # noqa: F811
    torch.manual_seed(0)
    Path("good.pth").symlink_to(checkpoint)
    status, _, error = command(words_of(name))
    assert status == 2
    (message,) = [line for line in error.splitlines() if line.startswith("nes2net: error: ")]
    assert f"{kind_of(name)} '{name}' (package {PACKAGE})" in message
    assert FAULTS[name] in message
    assert "Traceback" not in error


def test_checks_of_parts_change_no_bit_of_the_trained_weights(package, command, monkeypatch):  # noqa: F811
    """The weights include a count of the calls of the back-end."""
    line = f"{TRAIN} train.task=good_task augment.conditions=[good_effect] train.epochs=2 comment="
    assert command(f"{line}checked")[0] == 0
    for group, names in PARTS.items():
        for name, target in names.items():
            monkeypatch.setitem(REGISTRIES[f"nes2net.{group}"]._built_in, name, f"faulty_parts:{target}")
    assert command(f"{line}built_in")[0] == 0
    checked, built_in = (weights_of(next(package.glob(f"models/*_{comment}"))) for comment in ("checked", "built_in"))
    assert same(checked, built_in)
    assert checked["backend.calls"] > 0


def create_small_backend(name):
    size = 1 if name.startswith("raw_") else 32
    options = fit_options(registry.backends.get(name), BACKENDS[name], FrontendSizes(size, 3, 251))
    return create_backend(name, **{"feature_dim": size, **options})


def create_loss_with_head(name):
    kind = losses.get(name)
    head = {} if kind.needs_head is None else {"head": kind.needs_head}
    return create_loss(name, create_backend("mean_linear", feature_dim=16, num_logits=kind.num_logits or 2, **head))


def create_mild(name):
    return create_condition(":".join([name, *(f"{strength:g}" for strength in effects.get(name).strengths[:1])]))


BUILT_IN = [
    *((lambda name: create_frontend(name, **small_options(FRONTENDS, name)), name) for name in frontend_families()),
    *((lambda name: create_aggregation(name, 4, 16, **AGGREGATIONS[name]), name) for name in AGGREGATIONS),
    *((create_small_backend, name) for name in BACKENDS),
    *((create_loss_with_head, name) for name in losses.names(installed=False)),
    *((create_mild, name) for name in effects.names(installed=False) if not effects.get(name).needs),
]


@pytest.mark.parametrize("create, name", BUILT_IN, ids=[name for _, name in BUILT_IN])
def test_built_in_parts_pass_the_checks_for_those_of_other_packages(create, name, monkeypatch):
    for part_registry in (*registry.PARTS, losses, effects):
        monkeypatch.setattr(part_registry, "_table", part_registry._built_in)
        monkeypatch.setattr(part_registry, "_built_in", {})
    create(name)


def test_every_built_in_part_passes_the_check_of_entry_points_of_its_registry():
    for part_registry in REGISTRIES.values():
        for name in part_registry.names(installed=False):
            part_registry.check(name, part_registry.get(name))


TASKS = {
    "utterance": ({}, {}),
    "segments": STEPS["segments"],
    "fusion": STEPS["fusion"],
    "distillation": STEPS["distillation"],
    "logistic": ({"model": {"frontend": SPECTRUM, "backend": "logistic"}, "train": {"optimizer": "logistic"}}, {}),
    "source_tracing": ({"train": {"task": "source_tracing"}}, {}),
}


class Noises(tuple):
    """Stands in for a training set of noises of two classes."""

    augmentation = SimpleNamespace(in_turn=False)
    num_samples = None

    def __getitem__(self, item):
        number = item[1]
        extra_tensors = {name: rows[number] for name, rows in TASKS[self.task][1].items()}
        return PreparedTrial(0.1 * torch.randn(item[2]), number, extra_tensors=extra_tensors, trial_index=number)


@pytest.mark.parametrize("name", tasks.names(installed=False))
def test_the_objectives_of_built_in_tasks_pass_the_checks_for_those_of_other_packages(name, tmp_path):
    recipe = recipe_of(TASKS[name][0], tmp_path)
    task = create_task(recipe)
    task.subject = f"task '{name}'"
    check_part(task.subject, task, lambda *_: None, type(task))
    objective = task.objective(build_detector(recipe, tmp_path, None, task))
    noises = Noises()
    noises.task = name
    noises.trials = [Trial(str(number), None, ("spoof", "bonafide")[number]) for number in range(2)]
    task.target = lambda trial: int(trial.id)
    check_task(task, objective, noises)


@pytest.mark.parametrize("name", judgements.names(installed=False))
def test_built_in_judgements_pass_the_checks_for_those_of_other_packages(name, monkeypatch):
    monkeypatch.setattr(judgements, "_table", judgements._built_in)
    monkeypatch.setattr(judgements, "_built_in", {})
    judgement = as_judgement(name)
    if name == "classes":  # the only one of rows that a detector alone computes
        judgement.fit_to(Detector.from_config(TRACING))


def test_a_record_of_scores_names_the_packages_of_the_front_end_the_back_end_and_the_judgement(
    package,
    checkpoint,
    command,  # noqa: F811
):
    assert command(f"score good_corpus tones --model {checkpoint} --out rows.tsv --judgement good_rows")[0] == 0
    record = read_json(Path("rows.tsv.json"))
    assert record["packages"] == dict.fromkeys(
        ("front-end good_frontend", "back-end good_backend", "judgement good_rows"), PACKAGE
    )


def test_a_checkpoint_and_its_model_card_name_the_packages_of_the_parts(checkpoint):
    """The checkpoint that of every part of its training, the card those of the detector."""
    assert read_record(load_state_dict(checkpoint))["packages"] == dict.fromkeys(
        (
            "front-end good_frontend",
            "back-end good_backend",
            "corpus good_corpus",
            "condition good_effect",
            "loss good_loss",
            "task good_task",
        ),
        PACKAGE,
    )
    card = (checkpoint.parent / "README.md").read_text().replace("\\", "")
    for part_name in ("front-end good_frontend", "back-end good_backend"):
        assert f"The {part_name} is part of the package {PACKAGE}: install this package, too." in card


def test_a_checkpoint_is_refused_if_the_package_of_its_parts_is_missing(
    package,
    package_and_corpus,
    checkpoint,
    command,  # noqa: F811
    monkeypatch,
):
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(package_and_corpus / "site")])
    forget_packages(monkeypatch)
    needed = ", which no installed package provides; it was part of faulty-parts 1.2: pip install faulty-parts"
    status, _, error = command(f"predict tones/eval/eval_0.wav --model {checkpoint}")
    assert status == 2
    assert needed in error


def test_score_and_predict_refuse_a_score_that_is_not_finite_with_the_name_of_the_back_end(package, command):  # noqa: F811
    Detector.from_config({"frontend": "good_frontend", "backend": "loud_is_nan"}).save("nan.pth")
    for words in ("score good_corpus tones --out out.txt", "predict tones/eval/eval_0.wav"):
        status, _, error = command(f"{words} --model nan.pth")
        assert status == 2
        assert f"back-end 'loud_is_nan' (package {PACKAGE}): gave numbers that are not finite" in error
