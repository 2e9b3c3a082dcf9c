"""Describe every name that ``nes2net info`` knows, such as recipes, models, parts and corpora."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from inspect import cleandoc
from shlex import quote
from typing import NamedTuple

from nes2net.apps.info.overview import COMMANDS, STORED_CARDS
from nes2net.apps.info.part_options import PLURALS, all_option_rows, mapping_rows, option_rows
from nes2net.apps.info.results import figure_of, lines_about, result_sheet, rows_about
from nes2net.data.augment.conditions import expand_strengths
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import ListedCorpus
from nes2net.data.registry import corpora, effects
from nes2net.lib.errors import BrokenPart, InputError, did_you_mean, pluralise
from nes2net.lib.output.sheet import Facts, FactsDict, Sheet, Tables, format_value
from nes2net.lib.parts.docstrings import docstring_of
from nes2net.lib.parts.options import PARTS, name_and_options
from nes2net.lib.parts.registry import Registry
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.eer import METHODS
from nes2net.models.checkpoints.shelf import Shelf
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.published_models import PUBLISHED, PUBLISHED_MODELS
from nes2net.models.published_results import published_rows
from nes2net.models.registry import aggregations, backends, frontends, heads
from nes2net.scoring.registry import ALL_MARKS, judgements
from nes2net.training.recipes.documentation import SCHEMA, find_keys
from nes2net.training.recipes.reading import PACKAGED, load_recipe, packaged_recipes, recipe_notes
from nes2net.training.recipes.recipe import SECTIONS, Recipe
from nes2net.training.registry import losses, tasks

#: Role of a part in a configuration → registry of the parts with this role.
REGISTRIES: dict[str, Registry] = dict(zip(PARTS, (frontends, aggregations, backends)))


def overview() -> Sheet:
    """Describe every name in a line; :mod:`nes2net.apps.info.overview` stores the result."""
    tables = {kind.plural: kind.table() for kind in _all_kinds()}
    keys = {f"recipe {name}": docstring_of(section).title for name, section in SECTIONS.items()}
    tables["keys of a recipe"] = [{"name": name, "meaning": meaning} for name, meaning in keys.items()]
    return Sheet("What nes2net knows by name", tables=tables, commands=COMMANDS, brief=True)


class _Kind(NamedTuple):
    name: str
    """In the singular."""
    names: list[str]
    line: Callable[[str], str]
    """Maps a name to its line in the overview."""
    sheet: Callable[[str], Sheet]
    """Maps a name to its description."""

    @property
    def plural(self) -> str:
        return PLURALS.get(self.name, f"{self.name}s")

    def table(self) -> list[dict[str, str]]:
        """Return a line about each thing, or the error if it cannot be imported."""
        rows = []
        for name in self.names:
            try:
                rows.append({"name": name, "meaning": self.line(name)})
            except (InputError, ModuleNotFoundError) as error:  # a copy of nes2net may lack the folder of an app
                rows.append({"name": name, "meaning": str(error)})
        return rows


def _all_kinds() -> list[_Kind]:
    figures = {row.id: figure_of(row) for row in published_rows()}
    networks = [
        _kind_of_registry(registry, part_sheet, f"model.{role}", _network_facts)
        for role, registry in REGISTRIES.items()
    ]
    return [
        _Kind("recipe", packaged_recipes(), lambda name: recipe_notes(name).about[0], recipe_sheet),
        _Kind("model", list(PUBLISHED_MODELS), _model_line, model_sheet),
        *networks,
        _kind_of_registry(heads, part_sheet, "model.backend.head", _head_facts),
        _kind_of_registry(losses, part_sheet, "train.loss", _loss_facts),
        _kind_of_registry(tasks, part_sheet, "train.task", _task_facts),
        _kind_of_registry(judgements, judgement_sheet),
        _Kind("corpus", corpora.names(), _corpus_line, corpus_sheet),
        _Kind("condition", effects.names(), _condition_line, condition_sheet),
        _Kind("published result", list(figures), figures.__getitem__, result_sheet),
    ]


def _kind_of_registry(registry: Registry, sheet: Callable[..., Sheet], *settings: object) -> _Kind:
    return _Kind(
        registry.kind, registry.names(), partial(_docstring_title, registry), partial(sheet, registry, *settings)
    )


def names() -> dict[str, list[str]]:
    """Return kind → names, such as ``"corpora"`` → names of the corpora."""
    return {kind.plural: kind.names for kind in _all_kinds()}


def sheets(name: str) -> list[Sheet]:
    """Describe every thing with this name, usually one; for a kind, list its names.

    Raises:
        InputError: if nothing has this name; the message suggests the nearest name.
    """
    if name.startswith("hub:"):
        return [corpus_sheet(name)]
    if name == ALL_MARKS:
        from nes2net.scoring.marks import known_marks  # start-up: torch

        return [Sheet("marks", known_marks())]
    kinds = _all_kinds()
    if listed := [kind for kind in kinds if kind.plural == name]:
        return [Sheet(name, tables={"names": listed[0].table()}, brief=True)]
    all_names = [ALL_MARKS]
    for kind in kinds:
        all_names += [kind.plural, *kind.names]
    sheets = [kind.sheet(name) for kind in kinds if name in kind.names]
    if not sheets:
        hint = did_you_mean(name, all_names, "nes2net info")
        raise InputError(f"'{name}' is neither a file or folder nor a name that nes2net knows{hint}")
    if len(sheets) > 1:
        for sheet in sheets:
            sheet.facts = {**sheet.facts, "note": f"{len(sheets)} things are called {name}; each is described here"}
    return sheets


def _model_line(name: str) -> str:
    part_words = architecture(PUBLISHED_MODELS[name])
    return f"not for commercial use: {part_words}" if PUBLISHED[name].non_commercial else part_words


def _docstring_title(registry: Registry, name: str) -> str:
    return docstring_of(registry.get(name)).title


def _corpus_line(name: str) -> str:
    corpus = corpora.get(name)
    counts = ", ".join(f"{split} {counts.trials:,}" for split, counts in corpus.counts.items())
    text = f"{counts} trials" if counts else corpus.about
    return f"{corpus.title}: {text}" if text else corpus.title


def _condition_line(name: str) -> str:
    condition = effects.get(name)
    strengths = ", ".join(f"{strength:g}" for strength in condition.strengths)
    line = _docstring_title(effects, name)
    if strengths:
        strengths = f"{strengths} {condition.unit}".rstrip()
        line += f" ({strengths})"
    return line


def architecture(config: Facts) -> str:
    """Describe a model in a line: the names of its parts, with the options that the model sets.

    >>> architecture({"frontend": "lps", "backend": {"name": "nes2net_x", "dilation": 1}})
    'lps + nes2net_x (dilation 1)'
    """
    names = []
    for role in PARTS:
        if config.get(role) is not None:
            name, options = name_and_options(config, role)
            if options:
                name += f" ({', '.join(f'{key} {format_value(option)}' for key, option in options.items())})"
            names.append(name)
    return " + ".join(names)


def model_rows(config: Facts) -> Sequence[Facts]:
    """Return a row for each option that differs from the default, or one for the whole part."""
    rows = []
    for role, registry in REGISTRIES.items():
        if config.get(role) is None:
            continue
        name, options = name_and_options(config, role)
        defaults = {}
        if name in registry.names():
            defaults = {row["option"]: row["default"] for row in all_option_rows(registry, name)}
        changed = [key for key, option in options.items() if key not in defaults or option != defaults[key]]
        name_columns = {"part": registry.kind, "name": name}
        for key in changed:
            rows.append(name_columns | {"option": key, "value": options[key], "default": defaults.get(key, "")})
        if not changed:
            rows.append(name_columns | {"option": "(its defaults)", "value": "", "default": ""})
    return rows


def part_sheet(registry: Registry, key: str, further_facts: Callable[[Registry, str], Facts], name: str) -> Sheet:
    """Describe a front-end, an aggregation, a back-end, a head, a loss or a task, with its options.

    Args:
        key: key of a recipe that chooses the part by its name, such as ``"train.loss"``.
        further_facts: makes the facts that only this kind of part has.
    """
    facts = {"what": _docstring_title(registry, name), **further_facts(registry, name)}
    options = all_option_rows(registry, name)
    commands = [f"In a recipe: {key}={name}"]
    if options:
        commands.append(f"An option of it: {key}.{options[0]['option']}=…")
    return Sheet(f"{name}: {registry.kind}", facts, tables={"options": options}, commands=commands)


def _network_facts(registry: Registry, name: str) -> Facts:
    from nes2net.apps.info.costs import costs_of_part  # start-up: torch

    size = published_size_facts(name) if registry is frontends else {}
    try:
        with registry.guard(name, "a computation on PyTorch's meta device"):
            costs = costs_of_part(registry, name)
    except BrokenPart as error:
        return {"size": f"not computed: {error}"}
    return {
        "source": costs.module.source,
        "parameters": costs.parameters,
        "multiply-adds": f"{costs.multiply_adds / 1e9:.3f} G per second of audio",
        "size": costs.notes,
        **size,
        "published": lines_about(name),
    }


def _head_facts(registry: Registry, name: str) -> Facts:
    trained_by = [loss for loss in losses.names() if losses.get(loss).needs_head == name]
    return {"score rule": registry.get(name).score_rule, "trained by": trained_by}


def _loss_facts(registry: Registry, name: str) -> Facts:
    loss = registry.get(name)
    head = "any head" if loss.needs_head is None else f"the head {loss.needs_head}"
    logits = "a logit for each class" if loss.num_logits is None else pluralise(loss.num_logits, "logit")
    return {"needs": f"{head}, {logits}", "takes": "embeddings" if loss.takes_embeddings else "logits"}


def _task_facts(registry: Registry, name: str) -> Facts:
    measures = ", ".join(measure.name for measure in registry.get(name).measures)
    return {"measures": f"{measures}, for validation.select_on, beside loss and train_loss"}


def judgement_sheet(registry: Registry, name: str) -> Sheet:
    facts = {"what": _docstring_title(registry, name)}
    commands = [f"nes2net score CORPUS FOLDER --model CKPT --judgement {name} --out FILE"]
    return Sheet(f"{name}: judgement", facts, tables={"options": option_rows(registry, name)}, commands=commands)


def condition_sheet(name: str) -> Sheet:
    condition = effects.get(name)
    strengths = expand_strengths(name)
    flags = "".join(f" --{source} DIR" for source in condition.needs)
    keys = "".join(f" augment.{source}=DIR" for source in condition.needs if source != "speech")
    length = "stays"
    if condition.time_moves:
        length = "changes, or sounds move in time: not beside labels of segments"
    facts = {
        "what": _docstring_title(effects, name),
        "strength": condition.strengths_in_words() or "none",
        "in nes2net robustness": ", ".join(strengths),
        "needs": " and ".join(condition.needs),
        "length": length,
    }
    commands = [
        f"nes2net augment FILE --condition {strengths[0]}{flags} --plot --out DIR",
        f"In a recipe: augment.conditions=[{strengths[0]}]{keys}",
    ]
    return Sheet(f"{name}: condition", facts, commands=commands)


def published_size_facts(name: str) -> Facts:
    """Collect facts about published front-end weights; {} for any other name."""
    if name not in SIZES:
        return {}
    size = SIZES[name]
    files = [f"https://huggingface.co/{size.hub}, a folder"]
    if size.file:
        files.insert(0, f"{size.file} from {size.source}")
    if size.normalize is None:
        configuration = "log-mel features with a scaling of their own, for which there is no option"
    else:
        waveforms = "waveforms are layer-normalised" if size.normalize else "waveforms as they are"
        configuration = f"{waveforms}; here the option normalize decides, or if it is null the folder's do_normalize"
    return {
        "pre-trained model": size.title,
        "its weights": f"ssl_checkpoint={name}, fetched once",
        "its file": files,
        "its numbers": size.parameters,
        "its licence": size.licence,
        "its configuration": configuration,
        **weights_facts(Shelf(name, size.published)),
        "note": size.notes,
    }


def model_sheet(name: str) -> Sheet:
    config = PUBLISHED_MODELS[name]
    facts = {
        "parts": architecture(config),
        **published_facts(name),
        "notes": list(PUBLISHED[name].notes),
        "published": lines_about(name),
    }
    tables = json.loads(STORED_CARDS.read_text(encoding="utf-8"))[name]  # made by card_tables()
    commands = [f"Build it, with random weights: Detector.from_config('{name}')"]
    if PUBLISHED[name].file is None:
        commands.append(f"nes2net score CORPUS FOLDER --model FILE --architecture {name} --out s.txt")
    else:
        commands = [
            f"Load it, fetched once: Detector.from_pretrained('{name}')",
            *commands,
            f"nes2net predict FILE --model {name}",
            f"nes2net score CORPUS FOLDER --model {name} --out s.txt",
        ]
    return Sheet(f"{name}: published model", facts, tables=tables, commands=commands)


def card_tables(name: str) -> Tables:
    """Make the tables in :data:`STORED_CARDS`, which are stored because building a model takes seconds."""
    from nes2net.apps.info.costs import cost_rows, costs_of_config  # start-up: torch

    config = PUBLISHED_MODELS[name]
    return {
        "costs": cost_rows(costs_of_config(config)),
        "options that differ from the defaults of the parts": model_rows(config),
    }


def published_facts(name: str) -> Facts:
    """Collect source, licences, scoring and training data of a published model."""
    model = PUBLISHED[name]
    facts_of_file: Facts = {"its file": model.by_hand or "no program can fetch it"}
    if model.file:
        facts_of_file = weights_facts(Shelf(name, model.file))
    return {
        "source": model.source,
        "licence of the weights": model.licence,
        "licence of the code": model.code_licence,
        "its authors score": model.scored,
        "as stated in": model.scored_in or "no public source",
        "trained on": ", ".join(model.trained_on) or "not known",
        "selected on": ", ".join(model.selected_on) or "not known",
        "newest attacks": str(model.until or ""),
        **facts_of_file,
    }


def weights_facts(shelf: Shelf) -> Facts:
    """Collect source, checksum, and whether the weights are on this machine."""
    record = shelf.first_seen()
    return {
        # Shorten commits and checksums to seven digits.
        "fetched from": re.sub(r"([0-9a-f]{7})[0-9a-f]{33,}", r"\1…", shelf.file.address),
        "known by": shelf.file.known_by,
        "first seen here": record and ", ".join(filter(None, (record.first_seen, record.sha256 or record.revision))),
        "on this machine": "no" if shelf.find() is None else "yes",
    }


def recipe_sheet(name: AnyPath) -> Sheet:
    """Describe a packaged recipe or a file: model, data and changed keys."""
    recipe = load_recipe(name)
    notes = recipe_notes(name)
    packaged = PACKAGED / f"{name}.yaml"
    trained_on = [corpus.name for corpus in recipe.data.parts("train")]
    corpus_to_check = trained_on[0] if len(trained_on) == 1 and trained_on[0] in corpora.names() else "CORPUS"
    from nes2net.training.tasks.task import create_task  # import only here, because most names need no training

    start = None
    with suppress(InputError):  # the package of a task may be missing here
        start = create_task(recipe).start
    begins = start.path or f"a {start.what} ({start.key})" if start is not None else "random weights"
    facts = {
        "what": list(notes.about),
        "trains on": corpora_in_words(recipe),
        "model": architecture(recipe.model),
        "starts from": recipe.train.init_from or recipe.ssl_checkpoint or begins,
        "run folder": f"{recipe.output}/{recipe.tag}",
        "published": lines_about(str(name)),
        "file": str(packaged) if packaged.is_file() else "",
    }
    tables = {
        "options of the parts that differ from their defaults": model_rows(recipe.model),
        "keys that differ from the defaults": changed_keys(recipe, notes.sources),
    }
    commands = [
        f"nes2net train {quote(str(name))} data.root=FOLDER",
        f"nes2net data check {corpus_to_check} FOLDER",
        "nes2net info recipe KEY, what a key means",
    ]
    return Sheet(f"{name}: recipe", facts, tables=tables, commands=commands)


def keys_sheet(name: str | None) -> Sheet:
    """Describe the key ``name`` of a recipe; or list the keys of a section, or all keys."""
    keys = find_keys(name)
    if name is None or name in SECTIONS:
        facts = {key.name: f"({key.takes}; default {key.default}) {key.meaning}" for key in keys}
        return Sheet("keys of a recipe", facts, f"schema for editors: {SCHEMA}")
    (key,) = keys
    facts_of_key = {
        "meaning": key.meaning,
        "takes": key.takes,
        "default": key.default,
        "used with": key.used_with,
        "source": key.source,
    }
    return Sheet(f"{name}: key of a recipe", facts_of_key, tables={"options": mapping_rows(name)})


def corpora_in_words(recipe: Recipe) -> str:
    """Describe the corpora that a recipe trains on."""
    names = corpora.names()
    words = []
    for corpus in recipe.data.parts("train"):
        title = f" ({corpora.get(corpus.name).title})" if corpus.name in names else ""
        folder = f", from {corpus.root}" if corpus.root else ""
        words.append(f"{corpus.name}{title}{folder}")
    return "; ".join(words)


def changed_keys(recipe: Recipe, sources: Mapping[str, str]) -> list[Facts]:
    """Return a row for each key outside of the model that differs from its default."""
    defaults = _values_by_key(Recipe())
    rows: list[Facts] = []
    for key, value in _values_by_key(recipe).items():
        if value != defaults.get(key):
            source = sources.get(key, "")
            rows.append({"key": key, "value": value, "default": defaults.get(key), "source": source})
    return rows


def _values_by_key(recipe: Recipe) -> Facts:
    """Flatten a recipe, without its model: key such as ``train.lr`` → value."""
    flat: FactsDict = {}
    for key, value in recipe.to_readable_dict().items():
        if key in SECTIONS and isinstance(value, Mapping):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        elif key != "model":
            flat[key] = value
    return flat


def corpus_sheet(name: str) -> Sheet:
    """Describe parts, expected files, official numbers, and how to check a copy."""
    corpus = corpora.get(name)
    recipes = []
    for recipe in packaged_recipes():
        if name in [corpus.name for corpus in load_recipe(recipe).data.parts("train")]:
            recipes.append(recipe)
    tdcf_form = f"form of {corpus.tdcf_version}" if corpus.asv_scores else ""
    facts = {
        "parts": ", ".join(corpus.splits),
        "phases": ", ".join(corpus.phases),
        "EER rule": f"{corpus.eer_method}: {METHODS[corpus.eer_method]}",
        "min t-DCF": tdcf_form,
        "minDCF costs": f"those of {corpus.min_dcf_costs}",
        "excluded": [f"{key} {', '.join(values)}" for key, values in corpus.excluded.items()],
        "'4sec' scoring": f"{corpus.test_samples:,} samples",
        "licence": corpus.licence,
        "source": corpus.source,
        "to be had": [f"{files}: {address}" for files, address in corpus.obtain.items()],
        "numbers from": corpus.counts_from,
        "recipes": ", ".join(recipes),
        "published": [f"{row.id}: {figure_of(row)}" for row in rows_about([name])],
    }
    layout = []
    if isinstance(corpus, ListedCorpus):
        for split, files in corpus.parts.items():
            protocols = list(files.protocols)
            # Several folders do not fit on a line.
            if len(files.folders) == 1:
                protocols = [os.path.normpath(f"{files.folders[0]}/{protocol}") for protocol in protocols]
            layout.append({"part": split, "protocol": " or ".join(protocols), "audio": " or ".join(files.audio)})
    numbers = "reported numbers" if corpus.counts_from else "official numbers"
    tables = {numbers: _count_rows(corpus.counts)}
    for edition, counts in corpus.editions.items():
        tables[f"numbers of {edition}"] = _count_rows(counts)
    tables["official numbers of the labels"] = _count_rows(corpus.key_counts)
    tables["expected layout, the first that is there"] = layout
    command = f"nes2net data check {name}"
    if not corpus.home:
        command = f"{command} {corpus.takes}"
    return Sheet(f"{name}: corpus, {corpus.title}", facts, cleandoc(corpus.notes), tables, [command])


def _count_rows(counts: Mapping[str, Counts]) -> Sequence[Facts]:
    rows = []
    for split, trials in counts.items():
        fields = "; ".join(f"{pluralise(values, 'value')} of {name}" for name, values in trials.by.items())
        numbers = {"trials": trials.trials, "bona fide": trials.bonafide, "spoofed": trials.spoof}
        rows.append({"part": split, **numbers, "by": fields})
    return rows
