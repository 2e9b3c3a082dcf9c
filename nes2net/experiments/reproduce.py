"""Reproduction of a published result: train if necessary, score, evaluate, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nes2net.audio.files import is_recording
from nes2net.audio.packed import is_there
from nes2net.corpora.corpus import Corpus
from nes2net.corpora.protocol import NotFound
from nes2net.detector import Detector
from nes2net.errors import InputError, listed
from nes2net.evaluation.compare import Report, evaluate_systems
from nes2net.evaluation.page import write_report
from nes2net.experiments.comparability import Conditions, compare_conditions, published_architecture, recipe_path
from nes2net.experiments.published import PublishedRow
from nes2net.frontends.sizes import obtain
from nes2net.recipes.recipe import load_recipe
from nes2net.registry import corpora
from nes2net.scoring.corpus import score_trials
from nes2net.scoring.scorer import check_takes_audio_alone
from nes2net.training.averaging import average_run
from nes2net.training.run import train
from nes2net.training.selection import best_epochs

_TEACHER = (
    "train it by the recipe that the head of the row's recipe names, and give a recipe of your own with `recipe`: "
    "`base: {}`, `train.teacher: FILE`"
)
_FUSION = "in three steps instead: nes2net train, nes2net score with --system-scores, nes2net evaluate"


@dataclass(frozen=True)
class Places:
    """The files and folders of a reproduction.

    ``data`` holds the corpora side by side, or each in a folder of its registered name. ``keys``
    and ``protocols`` default to the folder of the corpus, ``ssl_checkpoint`` to that of the recipe,
    and ``recipe`` to that of the row. Everything is written to ``out``.
    """

    data: Path
    out: Path
    keys: Path | None = None
    protocols: Path | None = None
    checkpoint: Path | None = None
    ssl_checkpoint: Path | None = None
    recipe: Path | None = None

    def root(self, corpus: str) -> Path:
        """Return the folder of ``corpus``."""
        own = self.data / corpus
        return own if own.is_dir() else self.data


@dataclass(frozen=True)
class Missing:
    """Something that is not on the disk, the problem, and where to get it.

    ``spares_some`` means that only some of the files to score are missing: a partial result is
    possible.
    """

    what: str
    problem: str
    remedy: str
    spares_some: bool = False

    def __str__(self) -> str:
        return f"- {self.what}\n    {self.problem}\n    get it: {self.remedy}"


def find_missing(row: PublishedRow, places: Places) -> list[Missing]:
    """List everything that ``row`` needs and the disk lacks."""
    missing = [*_missing_model(row, places), *_missing_corpus(row.corpus, [row.split], places)]
    corpus = _corpus(row.corpus)
    if corpus is not None:
        try:
            corpus.keys(_keys(row, places), row.phase)
        except InputError as error:
            problem = _problem(error)
            if problem not in [m.problem for m in missing]:  # the protocol may hold the labels
                obtain = _obtain(corpus, "keys") or _obtain(corpus, "protocol")
                missing.append(Missing(f"keys of {corpus.title}", problem, obtain))
    return missing


def _problem(error: InputError) -> str:
    tried = error.tried if isinstance(error, NotFound) else []
    return f"not found; looked for {listed([str(path) for path in tried], 4)}" if tried else str(error)


def _missing_model(row: PublishedRow, places: Places) -> list[Missing]:
    released = row.checkpoint or "no published checkpoint is known"
    if not row.ways and row.here:
        released += f". The figure is only reported: {row.here}"
    if places.checkpoint is not None:
        if places.checkpoint.exists():
            return []
        return [Missing("checkpoint", f"{places.checkpoint} not found", released)]
    path = _recipe_path(row, places)
    if path is None:
        return [Missing("checkpoint", "none given (`checkpoint`), and there is no recipe to train it", released)]
    try:
        recipe = load_recipe(path, row.overrides)
    except InputError as error:
        return [Missing("recipe", str(error), f"give another one (`recipe`), or a checkpoint: {released}")]
    data, missing = recipe.data, []
    for name, split in dict.fromkeys(
        [(data.corpus, data.train_split), (data.dev_corpus or data.corpus, data.dev_split)]
    ):
        missing += [replace(m, spares_some=False) for m in _missing_corpus(name, [split], places)]
    ssl = places.ssl_checkpoint or recipe.ssl_checkpoint
    if ssl is not None and not Path(ssl).is_file():
        frontend = recipe.model["frontend"]
        name = frontend if isinstance(frontend, str) else frontend.get("name")
        problem = f"{ssl} not found; name it with `ssl_checkpoint`"
        missing.append(Missing(f"pre-training of {name}", problem, obtain(name) or "from its authors"))
    if recipe.train.loss == "distillation" and not (recipe.train.teacher and Path(recipe.train.teacher).is_file()):
        problem = f"{recipe.train.teacher} not found" if recipe.train.teacher else "none named (`train.teacher`)"
        missing.append(Missing("trained teacher", problem, _TEACHER.format(path.name)))
    if data.train_scores:
        problem = "the detector fuses them, and a row is measured with the audio alone"
        missing.append(Missing("scores of other systems", problem, _FUSION))
    if missing:
        missing.append(Missing("or, in place of training, a checkpoint", "none given (`checkpoint`)", released))
    return missing


def _missing_corpus(name: str, splits: Sequence[str], places: Places) -> list[Missing]:
    corpus, root = _corpus(name), places.root(name)
    if corpus is None:
        return [Missing(f"corpus {name}", "this version of nes2net does not read it", "a newer version")]
    return [missing for split in splits for missing in _missing_split(corpus, root, split, places)]


def _missing_split(corpus: Corpus, root: Path, split: str, places: Places) -> list[Missing]:
    problems: dict[str, str] = {}
    try:
        corpus.find_protocol(root, split, places.protocols)
    except InputError as error:
        problems["protocol"] = _problem(error)
    try:
        audio = corpus.find_audio(root, split)
        # The folder itself may be that of a corpus; only audio files show that.
        if problems and audio == root and not any(is_recording(path.name) for path in root.iterdir()):
            problems["audio"] = f"no audio files in {root}"
    except InputError as error:
        problems["audio"] = _problem(error)
    spares_some = False
    if not problems:
        problems, spares_some = _missing_files(corpus, root, split, places)
    return [
        Missing(f"{kind} of {corpus.title} {split}", text, _obtain(corpus, kind), spares_some)
        for kind, text in problems.items()
    ]


def _missing_files(corpus: Corpus, root: Path, split: str, places: Places) -> tuple[dict[str, str], bool]:
    """Say what is missing, and whether other files are there."""
    try:
        trials = corpus.trials(root, split, protocols=places.protocols)
    except InputError as error:
        return {"protocol": str(error)}, False
    gone = [trial.path.name for trial in trials if trial.path is not None and not is_there(trial.path)]
    if not gone:
        return {}, False
    return {"audio": f"{len(gone)} of {len(trials)} files are not in {root}: {listed(gone)}"}, len(gone) < len(trials)


def _obtain(corpus: Corpus, kind: str) -> str:
    """Say where to get ``kind`` of a corpus; a user's own corpus may not know."""
    return corpus.obtain.get(kind, "" if kind == "keys" else "from whoever made the corpus")


def _corpus(name: str) -> Corpus | None:
    return corpora.get(name) if name in corpora.names() else None


def _keys(row: PublishedRow, places: Places) -> Path:
    return places.keys or places.root(row.corpus)


def _recipe_path(row: PublishedRow, places: Places) -> Path | None:
    if places.recipe is not None or row.recipe is None:
        return places.recipe
    return recipe_path(row.recipe)


@dataclass(frozen=True)
class Reproduction:
    """A published row measured again, with a verdict if the conditions do not differ.

    ``trained`` means that the detector was trained by the recipe, not given as a checkpoint.
    """

    row: PublishedRow
    report: Report
    conditions: Conditions
    trained: bool

    def text(self) -> str:
        """Write the published and the measured figures and the verdict."""
        row, system = self.row, self.report.systems[0]
        low, high = (100 * bound for bound in system.interval)
        known = (("best", row.best), ("mean", row.mean))
        figures = "   ".join(f"{name} {row.percent(value)} %" for name, value in known if value is not None)
        lines = [
            f"published  {figures}   ({row.metric} on {row.test}, {row.source})",
            f"measured   {100 * system.eer:.2f} %   95 % interval {low:.2f} to {high:.2f} %   "
            f"({system.num_bonafide} bona fide and {system.num_spoof} spoofed trials, bootstrap over {system.interval_over})",
        ]
        if row.min_tdcf is not None:
            measured = "–" if system.min_tdcf is None else f"{system.min_tdcf:.4f}"
            lines.append(f"min t-DCF  published {row.min_tdcf:.4f}   measured {measured}")
        if row.legacy_train_mode:
            lines.append("scored in train mode, as the published figure was (deviation 2)")
        if self.trained and row.average > 1 and row.average_mode == "legacy":
            lines.append(
                "checkpoints averaged as the published code does, the first left out and the second twice (deviation 1)"
            )
        lines += [f"not checked: {text}" for text in self.conditions.unchecked]
        if self.conditions.differences:
            lines.append("no verdict, for measured and published figures cannot be compared:")
            return "\n".join([*lines, *(f"- {difference}" for difference in self.conditions.differences)])
        for name, value in (("single best", row.best), ("mean over runs", row.mean)):
            if value is not None:
                verdict = judge(value, low, high, row.digits)
                lines.append(f"against the published {name}, {row.percent(value)} %: {verdict}")
        lines.append(
            "The interval covers the choice of trials, not that of seeds: another training run may differ by more."
        )
        return "\n".join(lines)


def reproduce(
    row: PublishedRow,
    places: Places,
    *,
    device: str = "auto",
    batch_size: int = 8,
    num_workers: int = 2,
    allow_partial: bool = False,
    overwrite: bool = False,
    num_resamples: int = 1000,
) -> Reproduction:
    """Train if there is no checkpoint, score, evaluate, and compare with ``row``.

    Scores, ``report.html`` and ``report.json`` are written to ``places.out``. Finished work there
    is not repeated: training and scoring continue where they were stopped.

    Args:
        overwrite: Score anew, even over the scores of another checkpoint.

    Raises:
        InputError: if something is missing (:func:`find_missing` lists all of it), malformed, or of
            another run.
    """
    checkpoint = places.checkpoint or _trained(row, places, device)
    corpus = corpora.get(row.corpus)
    scores = places.out / "scores.txt"
    config = None if row.model is None else published_architecture(row)  # for a file that records none
    detector = Detector.from_pretrained(checkpoint, device, config=config)
    check_takes_audio_alone(detector)
    score_trials(
        detector,
        corpus.trials(places.root(row.corpus), row.split, protocols=places.protocols),
        scores,
        num_samples=row.samples if row.protocol == "4sec" else None,
        batch_size=batch_size,
        num_workers=num_workers,
        overwrite=overwrite,
        legacy_train_mode=row.legacy_train_mode,
        about={
            "corpus": {
                "name": row.corpus,
                "split": row.split,
                "protocol": "4sec" if row.protocol == "4sec" else "full",
            },
            "checkpoint": {**detector.record, "path": str(checkpoint)},
        },
    )
    report = evaluate_systems(
        row.corpus,
        [scores],
        _keys(row, places),
        row.phase,
        allow_partial=allow_partial,
        exclude=row.exclude,
        num_resamples=num_resamples,
    )
    report = replace(report, systems=[replace(report.systems[0], system=row.system)])
    write_report(report, places.out / "report.html", places.out / "report.json")
    conditions = compare_conditions(row, detector.config, report.systems[0], _keys(row, places))
    return Reproduction(row, report, conditions, trained=places.checkpoint is None)


def _trained(row: PublishedRow, places: Places, device: str) -> Path:
    """Train by the row's recipe; return the best checkpoint, or the average the row asks for."""
    path = _recipe_path(row, places)
    if path is None:
        raise InputError(f"there is no recipe to train {row.id}: give `checkpoint` or `recipe`")
    recipe = load_recipe(path, row.overrides)
    recipe.data.root = str(places.root(recipe.data.corpus))
    if recipe.data.dev_corpus is not None:
        recipe.data.dev_root = str(places.root(recipe.data.dev_corpus))
    if places.protocols is not None:
        recipe.data.protocols = str(places.protocols)
    if places.ssl_checkpoint is not None:
        recipe.ssl_checkpoint = str(places.ssl_checkpoint)
    recipe.output, recipe.logs = str(places.out / "models"), str(places.out / "logs")
    folder = train(recipe, device)
    best = best_epochs(folder, row.average, row.select)
    return average_run(folder, best, row.average_mode).path if len(best) > 1 else folder / f"epoch_{best[0]}.pth"


def judge(published: float, low: float, high: float, digits: int = 2) -> str:
    """Say where a published figure lies relative to a measured interval, all in percent.

    The published figure is taken to be rounded to ``digits`` decimal places.

    >>> judge(1.65, 1.50, 1.80), judge(1.65, 1.10, 1.40), judge(1.65, 1.654, 1.9)
    ('within the interval', 'better: the whole interval lies below it', 'within the interval')
    """
    rounding = 0.5 * 10**-digits
    if published + rounding < low:
        return "worse: the whole interval lies above it"
    if published - rounding > high:
        return "better: the whole interval lies below it"
    return "within the interval"
