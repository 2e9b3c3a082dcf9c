"""The trials of a run, listed corpus by corpus; training and development must differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

from nes2net.data.audio.packed import is_there
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, pluralise, refuse, settings_called
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.web.remote import is_address
from nes2net.training.recipes.data import CorpusConfig, DataConfig, SetName


def check_folders(data: DataConfig) -> None:
    """Raise the error of :func:`read_trials` if a folder is missing; this needs no PyTorch."""
    for part in get_args(SetName):
        for corpus in data.parts(part):
            has_folder = Path(corpus.root).exists() if corpus.root else corpora.get(corpus.name).home is not None
            if not (has_folder or is_address(corpus.root or "")):
                _trials_of(corpus, data, part)


def read_trials(data: DataConfig, part: SetName, labels: tuple[str, ...] = (SPOOF, BONAFIDE)) -> list[Trial]:
    """List the trials of ``part`` (``train`` or ``dev``), corpus by corpus.

    With several corpora, ids begin with the alias of the corpus, such as ``for:LA_T_1``. The column
    ``corpus`` also holds the alias, except that an only corpus that is a list of your own keeps its
    column.

    Args:
        labels: labels of the trials to list; each must have trials.

    Raises:
        InputError: if the folder of a corpus is not named; if a corpus lacks the split; if the
            corpus does not use a given key; if an audio file is missing; or if a label has no
            trials.
    """
    from nes2net.scoring.marked_corpus import warnings_beside  # start-up: PyTorch

    name = "training" if part == "train" else "development"
    trials: list[Trial] = []
    for corpus_config in data.parts(part):
        if part == "train":
            say_aside(*warnings_beside(corpus_config.root or "."))
        corpus_trials = _trials_of(corpus_config, data, part)
        if len(labels) == 1:
            corpus_trials = [trial for trial in corpus_trials if trial.label in labels]
        missing = [trial for trial in corpus_trials if not is_there(trial.audio_path())]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(corpus_trials)} audio files of the {name} set are missing, the first of them "
                f"{missing[0].path}: complete the corpus or name its folder with `{data.key_of(corpus_config, 'root')}`"
            )
        prefix = data.prefix_of(corpus_config, part)
        for trial in corpus_trials:
            extra = trial.extra
            if prefix or trial.get("corpus") is None:
                extra = (("corpus", corpus_config.called), *(pair for pair in extra if pair[0] != "corpus"))
            trials.append(replace(trial, id=f"{prefix}{trial.id}", extra=extra))
    if {trial.label for trial in trials} != set(labels):
        needed = " and ".join(sorted(labels))
        found = ", ".join(sorted({str(trial.label) for trial in trials})) or "none"
        raise InputError(
            f"the {name} set needs trials labelled {needed}, but the labels of its {pluralise(trials, 'trial')} are: {found}; "
            "add or label trials, or name another corpus or split"
        )
    return trials


def _trials_of(config: CorpusConfig, data: DataConfig, part: SetName) -> list[Trial]:
    is_short = data.short_form is not None
    if config.root is None and corpora.get(config.name).home is None:
        title = "the corpus" if is_short else f"corpus {config.called}"
        raise InputError(f"where is {title}? name its folder with `{data.key_of(config, 'root')}`")
    root = config.root or "."
    split = config.split(part)
    keys = (config.dev_keys if part == "dev" else None) or root  # file or folder of the labels
    phase = config.dev_phase if part == "dev" else None
    try:
        corpus = corpora.get(config.name)
        if part == "dev" and not corpus.user_defined and canonical_phase(split) not in corpus.splits:
            other_corpus = ", or another corpus with `data.dev_corpus`" if is_short else ""
            raise InputError(
                f"{corpus.title} has no split '{split}' for validation; it has {', '.join(corpus.splits)}: "
                f"name one with `dev_split`{other_corpus}"
            )
        trials = corpus.trials(root, split, protocols=config.protocols)
        if corpus.key_files:  # the labels are in separate files, not in the protocols
            labelled = {trial.id: trial for trial in corpus.keys(keys, phase)}
            return [labelled[trial.id].with_audio_of(trial) for trial in trials if trial.id in labelled]
        refuse(
            (phase is not None, f"{corpus.title} has no keys with phases: remove `dev_phase`"),
            (keys != root, f"the protocols of {corpus.title} hold its labels: remove `dev_keys`"),
        )
    except InputError as error:
        keys_of_recipe = ("root", "protocols", "dev_keys", "dev_phase", "dev_split")
        with settings_called({key: data.key_of(config, key) for key in keys_of_recipe}):
            error.reword()
        if not is_short:
            error.concern(f"corpus {config.called} of `data.corpora`:")
        raise
    return trials


def check_unseen(data: DataConfig, train_trials: Trials, dev_trials: Trials) -> None:
    """Raise :class:`InputError` if all development trials of a corpus are training trials.

    Trials of a class without training trials are ignored.
    """
    classes = {trial.target for trial in train_trials}  # one-class distillation trains on bona fide speech alone
    class_words = "" if len(classes) == 2 else "bona fide "
    training_recordings = {str(trial.recording()) for trial in train_trials}
    corpus_configs = data.parts("dev")
    for corpus in corpus_configs:
        corpus_words = f" of {corpus.called}" if len(corpus_configs) > 1 else ""
        own_trials = [trial for trial in dev_trials if not corpus_words or trial.get("corpus") == corpus.called]
        recordings = [str(trial.recording()) for trial in own_trials if trial.target in classes]
        if recordings and training_recordings.issuperset(recordings):
            raise InputError(
                f"all {len(recordings)} {class_words}development trials{corpus_words} are training trials too, so they would choose the "
                "epoch that learned them best: in a list of your own, fill a column 'split' with train and dev; or "
                f"name another list or folder with `{data.key_of(corpus, 'root')}`"
            )
