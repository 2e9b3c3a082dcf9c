"""Describe a file or folder for people: a detector, a run, scores, a calibration or a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

import numpy as np

from nes2net.apps.info.costs import cost_rows, costs_of_config
from nes2net.apps.info.identify import Identity, identify
from nes2net.apps.info.names import (
    architecture,
    changed_keys,
    corpora_in_words,
    model_rows,
    published_facts,
    recipe_sheet,
)
from nes2net.apps.info.results import lines_about
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.sheet import Facts, FactsDict, Sheet, format_value
from nes2net.lib.parts.options import name_and_options
from nes2net.lib.storage.files import AnyPath, Unchanged, is_absent, sha256_of
from nes2net.models.checkpoints.folder import CONFIG, WEIGHTS
from nes2net.models.checkpoints.huggingface import CONFIG_FILE
from nes2net.models.loading import build_errors_as_input_errors
from nes2net.models.provenance import Provenance, architecture_words
from nes2net.models.published_models import PUBLISHED
from nes2net.scoring.decisions.calibration import load as load_calibration
from nes2net.scoring.decisions.calibration import scored_part
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.judgement import scores_of
from nes2net.scoring.record import read_whole_record, record_path
from nes2net.training.averaging import measures_of
from nes2net.training.measures import ERROR_RATES
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.resume_file import RESUME_FILE
from nes2net.training.selection import HISTORY_FILE, RECIPE_FILE, columns_of, read_history, saved_epochs

_OTHER_FILE = "info reads checkpoints, folders, scores, calibrations and recipes"
_RECIPE_KEYS = "keys of the recipe that differ from the defaults"


def file_sheet(path: AnyPath) -> Sheet:
    """Describe a file or folder by its content; no code in it is executed.

    Raises:
        InputError: if ``path`` is missing, damaged, or of an unknown kind.
    """
    path = Path(path)
    files = Unchanged(path, path / WEIGHTS)  # checked at the end: the file must not change while it is described
    # Describe a folder of a training run; that of a detector is described at the end, as its file is.
    if path.is_dir():
        is_detector = not (is_absent(path / CONFIG) and is_absent(path / CONFIG_FILE))
        is_run = any(path.glob("epoch_*.pth")) or not all(
            is_absent(path / name) for name in (RECIPE_FILE, HISTORY_FILE, RESUME_FILE)
        )
        if is_run and not is_detector:
            return _run_sheet(path)
    elif path.suffix in (".yaml", ".yml"):
        return recipe_sheet(path)
    elif path.suffix == ".json":
        return _calibration_sheet(path)
    # A text file is a score file; any other file holds weights.
    start = b""
    if path.suffix not in (".onnx", ".safetensors"):
        with suppress(OSError), open(path, "rb") as file:  # a folder, or an error that `identify` will report
            start = file.read(4096)
    # A file without control characters is text.
    if start and not any(byte < 9 or 13 < byte < 32 for byte in start):
        sheet = _scores_sheet(path)
    else:
        sheet = _detector_sheet(identify(path))
    files.check()
    return sheet


def _detector_sheet(identity: Identity) -> Sheet:
    path = identity.path
    config = identity.architecture
    # Count the numbers by type, and say whether the tensors fit the architecture.
    weights = path / WEIGHTS if path.is_dir() else path
    tensors = ""
    numbers = ""
    if identity.parameters:
        types = ", ".join(f"{count:,} {kind}" for kind, count in identity.dtypes.items())
        numbers = f"{identity.parameters:,} ({types})"
        if config or identity.models:
            tensors = str(identity.misfit) or "all there, none left over"
    facts_of_model: Facts = {}
    notes = identity.notes
    if identity.provenance.published:
        name, published_model = identity.provenance.published
        facts_of_model = published_facts(name)
        notes = [*notes, *published_model.notes]
    facts: Facts = {
        "model": _model_in_words(identity),
        **facts_of_model,
        "names and shapes": tensors,
        "numbers": numbers,
        "SHA-256": sha256_of(weights) if weights.is_file() else "",
        **_adaptation_facts(identity),
        **_training_facts(identity.provenance),
        "not rebuilt": ", ".join(identity.records),
        "notes": notes,
        "published": lines_about(*identity.models),
    }
    costs: Sequence[Facts] = ()
    if config and not identity.misfit:
        with build_errors_as_input_errors(str(path)):
            costs = cost_rows(costs_of_config(config))
    recipe = _recipe_if_readable(identity.provenance)
    tables = {
        "parts": costs,
        "options of the parts that differ from their defaults": model_rows(config),
        _RECIPE_KEYS: changed_keys(recipe, {}) if recipe else (),
    }
    commands = []
    if "backend" in config and not identity.misfit and "resume" not in identity.kind:
        model = quote(str(path))
        commands = [
            f"nes2net score CORPUS FOLDER --model {model} --out scores.txt",
            f"nes2net predict --model {model} recording.wav",
        ]
    return Sheet(f"{path}: {identity.kind}", facts, tables=tables, commands=commands)


def _model_in_words(identity: Identity) -> str:
    models = identity.models
    if not models and identity.provenance.architecture:
        models = [identity.provenance.architecture[0]]
    has_published_weights = identity.provenance.published is not None
    if has_published_weights or identity.misfit or PUBLISHED.keys().isdisjoint(models):
        return " or ".join(models)
    return architecture_words(*models)  # only the architecture is published, not these weights


def _adaptation_facts(identity: Identity) -> dict[str, str]:
    facts: dict[str, str] = {}
    _, frontend_options = name_and_options(identity.config, "frontend", "")
    if isinstance(adapt := frontend_options.get("adapt"), dict):
        options = [f"{key} {format_value(value)}" for key, value in adapt.items() if key != "kind"]
        facts["adapted"] = ", ".join([format_value(adapt.get("kind")), *options])
    if isinstance(base := identity.base, dict):
        digest = f"SHA-256 of its tensors {format_value(base.get('digest'))}"
        facts["base"] = f"{format_value(base.get('file'))}, {digest}; not in this file"
    return facts


def _recipe_if_readable(provenance: Provenance) -> Recipe | None:
    with suppress(InputError):  # another version of nes2net wrote it, with keys that this version does not know
        return recipe_from_dict(dict(provenance.recipe)) if provenance.recipe else None
    return None


def _training_facts(provenance: Provenance) -> FactsDict:
    recipe = _recipe_if_readable(provenance)
    record = provenance.facts
    average = record.get("average")
    facts: FactsDict = {}
    if recipe is not None:
        run = ""
        if "seed" in (provenance.recipe or {}):  # the recipe in a saved copy of a detector lacks the seed
            run = f", seed {recipe.seed}, run {recipe.tag}"
        facts = {"recipe": f"{recipe.name}{run}", "trained on": corpora_in_words(recipe)}
    facts["started from"] = [_start_in_words(start) for start in provenance.started_from]
    if isinstance(average, dict):
        averaged = ""
        for key, unit in (("of", ""), ("ids", "epochs ")):
            if isinstance(average.get(key), list) and average[key]:
                averaged = unit + ", ".join(map(str, average[key]))
        facts["average"] = f"{average.get('mode', 'mean')} of {averaged}"
    if "epoch" in record:
        facts["epoch"] = str(record["epoch"])
        if recipe is not None:
            facts["epoch"] = f"{record['epoch']} of {recipe.train.epochs}"
    if isinstance(progress := record.get("progress"), dict):
        facts["progress"] = f"{progress.get('step')} steps into epoch {progress.get('epoch')}"
    figures = {key: value for key, value in record.items() if isinstance(value, float) and key != "epoch"}
    columns = columns_of([figures], ERROR_RATES)
    facts |= {column.heading: column.cell(figures) for column in columns}
    shown_keys = ["epoch"]
    for column in columns:
        shown_keys += [column.key, f"{column.key}_low", f"{column.key}_high"]
    for key, value in record.items():
        if key not in shown_keys and not isinstance(value, (dict, list)):
            facts[key] = value
    return facts


def _start_in_words(start: Provenance) -> str:
    if start.published:
        name, model = start.published
        return f"{name}; licence of its weights: {model.licence}"
    if start.name:
        return start.name
    return architecture_words(start.architecture[0]) if start.architecture else "another detector"


def _run_sheet(folder: Path) -> Sheet:
    facts: FactsDict = {}
    keys: Sequence[Facts] = ()
    rows = [] if is_absent(folder / HISTORY_FILE) else read_history(folder / HISTORY_FILE)
    checkpoints = sorted(folder.glob("*.pth"), key=lambda path: (len(path.name), path.name))
    checkpoint_names = [path.name for path in checkpoints]
    if not is_absent(folder / RECIPE_FILE):
        recipe = load_recipe(folder / RECIPE_FILE)
        facts = _training_facts(Provenance(recipe=recipe.to_dict()))
        facts["model"] = architecture(recipe.model)
        facts["epochs"] = f"{len(rows)} of {recipe.train.epochs} are done"
        keys = changed_keys(recipe, {})
    epochs = []
    columns = columns_of(rows, measures_of(folder))
    for row in rows:
        checkpoint = f"epoch_{row['epoch']}.pth"
        kept_name = checkpoint if checkpoint in checkpoint_names else ""
        cells = {column.heading: column.cell(row) for column in columns if column.heading}
        epochs.append(cells | {"kept": kept_name})
    tables = {"epochs": epochs, _RECIPE_KEYS: keys}
    facts["checkpoints"] = ", ".join(checkpoint_names) or "none"
    facts["to resume from"] = RESUME_FILE if (folder / RESUME_FILE).is_file() else ""
    commands = []
    if len(saved_epochs(folder)) > 1:
        commands.append(f"nes2net average {quote(str(folder))}")
    if checkpoints:
        commands.append(f"nes2net info {quote(str(checkpoints[-1]))}")
    return Sheet(f"{folder}: run folder", facts, tables=tables, commands=commands)


def _calibration_sheet(path: Path) -> Sheet:
    calibration = load_calibration(path, claims=True)
    name = quote(str(path))
    weights = [{"weight": weight, "system": system} for weight, system in zip(calibration.weights, calibration.systems)]
    facts: FactsDict = {
        "offset": calibration.offset,
        "prior of bona fide": calibration.prior,
        "l2": calibration.l2,
    }
    if calibration.genuine:
        title = "threshold of genuine recordings"
        command = f"nes2net predict FILE --model MODEL --calibration {name}"
        facts = {"decision": Decider(calibration).describe()[0].removeprefix("decision: ")}
        weights = []
    elif len(weights) > 1:
        title = "fusion of scores"
        command = f"nes2net calibrate apply {name} SCORES … --out calibrated.txt"
    else:
        title = "calibration of scores"
        command = f"nes2net calibrate apply {name} SCORES --out calibrated.txt"
    figures = []
    for key, fact in calibration.trained_on.items():
        if key == "figures" and isinstance(fact, dict):
            figures = [{"figure": figure, "value": value} for figure, value in fact.items()]
        elif not isinstance(fact, (dict, list)):
            facts[f"trained on, {key}"] = fact
    facts["detector"] = "not known, so nothing tells whether scores are of the same one"
    if (scored_by := calibration.scored_by) is not None:
        facts |= {
            "detector": f"{scored_by.fingerprint} (SHA-256 of architecture and weights) in {scored_by.precision}",
            "scored": scored_part(scored_by.num_samples),
            "ms in a frame": scored_by.resolution_ms,
        }
    recordings = "not measured, so no recording is called 'cannot tell'"
    if (population := calibration.population) is not None:
        recordings = f"{population.num_recordings:,} measured"
        facts["scored lengths, in s"] = population.durations
        facts |= {f"usual {trait}": usual for trait, usual in population.usual_ranges().items()}
        facts["embeddings"] = "count as well" if population.has_embeddings else "not computed"
    facts["recordings"] = recordings
    tables = {"weights": weights, "figures on the training trials": figures}
    return Sheet(f"{path}: {title}", facts, tables=tables, commands=[command])


def _record_facts(path: Path) -> Facts:
    record = read_whole_record(path)
    corpus = record.mapping("corpus")
    training = _training_facts(record.provenance)
    model = record.mapping("published_model")
    warnings = record.facts.get("seen")
    samples = record.run.get("num_samples")
    return {
        "corpus": ", ".join(str(corpus[key]) for key in ("name", "split", "protocol", "root") if key in corpus),
        "checkpoint": record.mapping("checkpoint").get("path"),
        **{key: training.get(key) for key in ("recipe", "average", "epoch")},
        "published detector": model.get("name"),
        "licence of its weights": model.get("licence"),
        "warning": [str(line) for line in warnings] if isinstance(warnings, list) else [],
        "utterances": "whole" if samples is None else f"the first {format_value(samples)} samples",
        "precision": record.run.get("dtype"),
        "device": record.facts.get("device_name") or record.facts.get("device"),
        "versions": ", ".join(f"{name} {version}" for name, version in record.mapping("versions").items()),
        "without a score": pluralise(record.failures, "file") if record.failures else "",
        "detector": f"{record.run.get('model')} (SHA-256 of architecture and weights)",
    }


def _scores_sheet(path: Path) -> Sheet:
    try:
        ids, scores = scores_of(path)
    except InputError as error:
        raise InputError(f"{path} is text, but not a score file ({error}): name another file; {_OTHER_FILE}") from error
    if not ids:
        raise InputError(f"{path} holds no score: name another file; {_OTHER_FILE}")
    num_repeated = len(ids) - len(set(ids))
    finite = scores[np.isfinite(scores)]
    spread = ""
    if len(finite):
        low, middle, high = np.quantile(finite, [0, 0.5, 1]).tolist()
        spread = f"{low:.4f} to {high:.4f}, median {middle:.4f}; higher means more bona fide"
    record = record_path(path)
    record_facts: Facts = {"record": f"{record.name} is not beside it, so what made the scores is not known"}
    if not is_absent(record):
        record_facts = _record_facts(record)
    facts = {
        "trials": len(ids),
        "first trial": ids[0],
        "repeated": f"{num_repeated:,} lines repeat an id" if num_repeated else "",
        "scores": spread,
        "not finite": len(scores) - len(finite) or "",
        "tied": len(scores) - len(np.unique(scores)) or "",
        "SHA-256": sha256_of(path),
        **record_facts,
    }
    corpus = str(record_facts.get("corpus")).partition(",")[0]
    if corpus not in corpora.names() and not corpus.startswith("hub:"):
        corpus = "CORPUS"
    return Sheet(f"{path}: score file", facts, commands=[f"nes2net evaluate {corpus} {quote(str(path))} --keys FOLDER"])
