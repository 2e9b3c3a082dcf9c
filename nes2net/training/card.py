"""The model card of a run: facts for the provenance of checkpoints, and ``README.md``.

In reading order: ``describe_trials`` and ``describe_training`` give the facts of all epochs,
``with_last_epoch`` adds those of one epoch; ``write_card`` writes the card; ``add_figures`` adds an
evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from nes2net.data.audio.read import AudioFile
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trials
from nes2net.detector import Detector
from nes2net.evaluation.breakdown import DrawnGroups
from nes2net.evaluation.origin import read_origin
from nes2net.evaluation.result import Result
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.storage.files import write_text
from nes2net.models.card import CARD, CardFile, SetFigure, model_card
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record
from nes2net.models.provenance import Provenance
from nes2net.scoring.decisions.calibration import few_trials
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import Record
from nes2net.training.measures import EER, THRESHOLD_KEY
from nes2net.training.recipes.recipe import Recipe, flatten
from nes2net.training.run_log import device_name
from nes2net.training.selection import HISTORY_FILE, Row, Selection, read_history
from nes2net.version import __version__

# Most names in a set's list of attacks, languages or codecs.
_MAX_NAMES = 100
# Largest number of recordings whose headers are read to estimate the hours of a set.
_MAX_HEADERS = 200
# Settings that a card lists even if they have their defaults.
_ALWAYS = ("train.epochs", "train.batch_size", "train.optimizer", "train.lr", "train.loss", "augment.algo", "seed")
# Settings not listed: they change no weights, name folders and trackers, or stand elsewhere in the card.
_NEVER = (
    "data.cache",
    "data.cache_bytes",
    "data.num_workers",
    "data.corpora",
    "train.keep",
    "train.save_every_minutes",
    "model",
    "output",
    "logs",
    "tracker",
    "name",
    "date",
    "comment",
)


def describe_trials(trials: Trials) -> Facts:
    """Collect the facts about ``trials`` that a model card states.

    Returns:
        ``bonafide`` and ``spoof``, the numbers of trials; ``speakers``, their number, 0 if unknown;
        ``attacks`` (or vocoders), ``languages`` and ``codecs``, at most 100 names each; ``drawn``,
        the units of the bootstrap, such as "20 speakers"; ``hours``, estimated from the headers of
        at most 200 recordings, None if no header states a length.
    """
    bonafide = sum(trial.label == BONAFIDE for trial in trials)
    lengths = []
    interval = max(1, math.ceil(len(trials) / _MAX_HEADERS))
    for trial in trials[::interval]:
        with suppress(InputError, OSError):
            with AudioFile(trial.recording()) as audio:
                if length := audio.stated_length():
                    lengths.append(length)
    hours = None
    if lengths:
        mean_length = sum(lengths) / len(lengths)  # in samples
        hours = mean_length * len(trials) / SAMPLE_RATE / 3600
    groups = DrawnGroups.of(trials)
    spoofed = [trial for trial in trials if trial.label == SPOOF]
    return {
        "bonafide": bonafide,
        "spoof": len(trials) - bonafide,
        "speakers": len(_distinct(trial.speaker for trial in trials)),
        "attacks": _distinct(trial.attack or trial.vocoder for trial in spoofed)[:_MAX_NAMES],
        "languages": _distinct(trial.language for trial in trials)[:_MAX_NAMES],
        "codecs": _distinct(trial.codec for trial in trials)[:_MAX_NAMES],
        "drawn": f"{groups.num_groups} {groups.interval_over}",
        "hours": hours,
    }


def _distinct(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name is not None})


def describe_training(
    recipe: Recipe, detector: Detector, accelerator: Accelerator, earlier: Sequence[str]
) -> FactsDict:
    """Collect the facts for :attr:`nes2net.models.provenance.Provenance.training` of all epochs.

    Args:
        earlier: devices on which the run computed before it resumed.
    """
    device = f"{accelerator.num_processes} × {device_name(accelerator.device)}"
    return {
        "devices": list(dict.fromkeys([*earlier, device])),
        "software": f"nes2net {__version__}, torch {torch.__version__}",
        "parameters": f"{count_numbers(detector.parameters()):,}",
        "settings": dict(_settings(recipe)),
    }


def with_last_epoch(provenance: Provenance, selection: Selection) -> Provenance:
    """Return ``provenance`` with the facts and figures of the last epoch of ``selection``."""
    row = selection.history[-1]
    training = {
        **provenance.training,
        "epoch": row["epoch"],
        "epochs": selection.epochs,
        "seconds": math.fsum(row["seconds"] for row in selection.history),
    }
    figures = tuple(figure.to_dict() for figure in _development_figures(provenance, selection, row))
    return replace(provenance, training=training, figures=figures)


def write_card(folder: Path, checkpoint: str | None = None) -> None:
    """Write the card of the run in ``folder``.

    The training time includes epochs after the checkpoint.

    Args:
        checkpoint: file name of the described checkpoint; None for that of the last call.

    Raises:
        InputError: if the checkpoint or another file cannot be read, or if the card cannot be
            written.
    """
    card_file = CardFile.read(folder)
    if checkpoint is not None:
        card_file = card_file.model_copy(update={"checkpoint": checkpoint})
        card_file.write(folder)
    record = read_record(load_state_dict(folder / card_file.checkpoint))
    provenance = Provenance.read(record)
    seconds = math.fsum(row.get("seconds", 0) for row in read_history(folder / HISTORY_FILE))
    provenance = replace(provenance, training={**provenance.training, "seconds": seconds})
    card = model_card(
        record["model"],
        provenance,
        folder / CARD,
        checkpoint=card_file.checkpoint,
        evaluation_figures=card_file.figures,
    )
    write_text(folder / CARD, card)


def add_figures(folder: Path, result: Result, paths: Sequence[Path]) -> Path:
    """Add the EERs of an evaluation to the card of the run that made the scores; return its path.

    An earlier figure of the same checkpoint on the same trials is replaced.

    Args:
        paths: the evaluated score files, in the order of the systems of ``result``.

    Raises:
        InputError: if the folder has no card, if the scores do not belong to recordings, or if no
            checkpoint of the folder made the scores.
    """
    card_file = CardFile.read(folder)
    rows = result.rows("systems")
    refuse(
        (
            not card_file.checkpoint,
            f"{folder} has no model card that training wrote: name the folder of a run with `card`",
        ),
        (
            not rows,
            "a model card states EERs of recordings, which this result does not have: evaluate a score file of recordings",
        ),
    )
    figures = list(card_file.figures)
    for row, facts, path in zip(rows, result.header["systems"], paths, strict=True):
        corpus = result.header["corpus"]
        phase = result.header["phase"]
        file = ScoreFile.of(path)
        origin = read_origin(file, corpus, phase)
        if file.record is None or "checkpoint" not in origin.facts:
            raise InputError(f"{path} has no record beside it that says which checkpoint made it: remove `card`")
        checkpoint = Path(origin.facts["checkpoint"]).name
        fingerprint = _check_scored_by(folder / checkpoint, path, file.record)
        attack = ""
        if "attack" in file.record.run:
            attack = "{side} side, steps: {steps}".format_map(file.record.run)
        figure = SetFigure(
            corpus=corpus,
            split=phase,
            checkpoint=checkpoint,
            detector=fingerprint,
            is_official=not result.header["differences_from_official_trials"],
            bonafide=int(row.value("num_bonafide")),
            spoof=int(row.value("num_spoof")),
            value=row.value("eer"),
            interval=row["eer"].interval,
            drawn=f"{facts['num_groups']} {facts['interval_over']}",
            threshold=row["threshold"].value,
            notes=(*origin.uses, *facts["notices"]),
            condition=file.record.text("condition"),
            attack=attack,
        )
        figures = [*(earlier for earlier in figures if not figure.replaces(earlier)), figure]
    card_file.model_copy(update={"figures": tuple(figures)}).write(folder)
    write_card(folder)
    return folder / CARD


def _check_scored_by(checkpoint: Path, scores: Path, record: Record) -> str:
    """Raise InputError if another checkpoint made ``scores``; return the fingerprint in the default precision."""
    if checkpoint.is_file():
        fingerprint = Detector.from_pretrained(checkpoint, "cpu").fingerprint()
        scored_by = fingerprint
        precision = str(record.run.get("dtype", "auto"))
        if precision != "auto":
            scored_by = Detector.from_pretrained(checkpoint, "cpu", precision).fingerprint()
        if scored_by == record.run.get("model"):
            return fingerprint
    raise InputError(
        f"{scores} was made by {checkpoint.name}, and {checkpoint.parent} has no such checkpoint: name its folder with "
        "`card`"
    )


def _development_figures(provenance: Provenance, selection: Selection, row: Row) -> Iterator[SetFigure]:
    sets = [described for described in provenance.trials if described.get("part") == "dev"]
    pooled = _pool_facts(sets)
    for measure in selection.task_measures:
        column = measure.column()
        if column not in row:
            continue
        facts: FactsDict = {"measure": measure.title, "percent": measure.percent, "is_development": True}
        eer_facts: FactsDict = {}
        if measure.name == EER.name:
            eer_facts = {"threshold": row.get(THRESHOLD_KEY), "drawn": sets[0]["drawn"] if len(sets) == 1 else ""}
            eer_facts["interval"] = (row[f"{column}_low"], row[f"{column}_high"])
            eer_facts["notes"] = tuple(filter(None, [few_trials(pooled["bonafide"], pooled["spoof"])]))
        yield SetFigure(value=row[column], **pooled, **facts, **eer_facts)
        for described in sets:
            if (value := row.get(f"{column}/{described['alias']}")) is not None:
                yield SetFigure(value=value, **_pool_facts([described]), **facts)


def _pool_facts(sets: Sequence[Facts]) -> Facts:
    return {
        "corpus": " + ".join(dict.fromkeys(described["corpus"] for described in sets)),
        "split": " + ".join(dict.fromkeys(described["split"] for described in sets)),
        "bonafide": sum(described["bonafide"] for described in sets),
        "spoof": sum(described["spoof"] for described in sets),
        "is_official": all(described["official"] for described in sets),
    }


def _settings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the settings that a card lists: :data:`_ALWAYS`, and those that differ from the defaults."""
    defaults = flatten(Recipe().to_dict())
    for key, value in flatten(recipe.to_dict()).items():
        is_listed = key.startswith(_ALWAYS) or value != defaults.get(key)
        if is_listed and value is not None and not key.startswith(_NEVER):
            if isinstance(value, str):
                value = Path(value).name  # of a path, tell only the name
            yield key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
