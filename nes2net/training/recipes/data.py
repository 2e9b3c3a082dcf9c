"""The section ``data`` of a recipe: corpora, sampling of utterances, and crops.

``CorpusConfig`` is one corpus; ``DataConfig`` is the section. The end of the file converts between
``data.corpora`` and its short form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, MAX_CROP_SAMPLES
from nes2net.data.corpora.protocol import find_repeated
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.parts.options import Takes
from nes2net.lib.web.remote import CACHE_BYTES
from nes2net.training.recipes.section import (
    AboveZero,
    Alias,
    Count,
    Natural,
    Section,
    Source,
    Text,
    yaml_word,
)

_NOT_LOGISTIC = NotWith("train.optimizer=logistic")

#: The short form of ``data.corpora``: keys of ``data`` for one corpus, and for a second corpus that only validates.
_SHORT_FORM = (
    *("corpus", "root", "protocols", "train_split", "dev_split"),
    *("dev_corpus", "dev_root", "dev_protocols", "dev_keys", "dev_phase"),
)


#: Name of the training set or the development set.
SetName: TypeAlias = Literal["train", "dev"]


class CorpusConfig(Section):
    """One corpus in `data.corpora`, with its parts for training and for validation."""

    prefix = "data.corpora[]."

    name: Text
    """Name of the corpus in `nes2net data check`, or `hub:OWNER/NAME`."""
    root: Text | None = None
    """Folder of the corpus; not needed for a data set of the hub."""
    alias: Alias | None = None
    """Name of the corpus in ids of trials, histories and tables; if not given, `name`. If two
    corpora have the same `name`, at least one of them needs an alias."""
    weight: Annotated[AboveZero | None, NotWith("train_split=null")] = None
    """Share of the corpus in the draws of an epoch, relative to the other corpora. If a corpus has
    a weight, corpora without a weight have the weight 1. If no corpus has a weight and
    `data.balance` does not name `corpus`, all utterances are equally likely, so that a corpus
    counts by its size."""
    protocols: Text | None = None
    """Folder of the protocols of the corpus; if not given, `root` is searched."""
    train_split: Text | None = "train"
    """Part of the corpus for training; null for a corpus that only validates."""
    dev_split: Text | None = "dev"
    """Part of the corpus for validation; null for a corpus that only trains."""
    dev_keys: Annotated[Text | None, NotWith("dev_split=null")] = None
    """Folder of the labels of `dev_split`, if the protocols hold no labels; if not given, `root` is searched."""
    dev_phase: Annotated[Text | None, NotWith("dev_split=null")] = None
    """Phase of the labels in `dev_keys` to which validation is restricted; null for all labelled trials."""

    def check(self) -> None:
        if self.alias is None:
            self.alias = alias_of(self.name)
        if self.train_split is None and self.dev_split is None:
            raise InputError(
                f"corpus {self.alias} of `data.corpora` neither trains nor validates: give it `train_split` or `dev_split`"
            )

    @property
    def called(self) -> str:
        """The alias of the corpus."""
        assert self.alias is not None  # the validator of this section sets the alias
        return self.alias

    def split(self, part: SetName) -> str:
        """Return the corpus's split for ``part``, which the caller has checked to exist."""
        split = self.train_split if part == "train" else self.dev_split
        assert split is not None
        return split


def alias_of(name: str) -> str:
    """Make the default alias of a corpus: the last part of its ``name``.

    >>> alias_of("asvspoof2019_la"), alias_of("hub:OWNER/CodecFake@v1.0")
    ('asvspoof2019_la', 'CodecFake')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name.rpartition("/")[2].partition("@")[0]) or "corpus"


class DataConfig(Section):
    """The corpora for training and validation, and how utterances are drawn and cropped."""

    prefix = "data."

    corpus: Annotated[Text, Source("arXiv 2504.05657")] = "asvspoof2019_la"
    """Corpus for training and validation, by its name in `nes2net data check`."""
    root: Annotated[Text | None, Source("main.py --database_path")] = None
    """Folder of the corpus."""
    protocols: Annotated[Text | None, Source("main.py --protocols_path")] = None
    """Folder of the protocols; if not given, `data.root` is searched."""
    train_split: Annotated[Text, Source("Ensembling (Interspeech 2024): dev")] = "train"
    """Part of the corpus for training, such as `train`, `dev` or `eval`."""
    dev_split: Annotated[Text, Source("Ensembling (Interspeech 2024): eval, of ASVspoof 2021 LA")] = "dev"
    """Part of `data.dev_corpus` for validation."""
    dev_corpus: Annotated[Text | None, Source("Ensembling (Interspeech 2024): asvspoof2021_la")] = None
    """Corpus for validation; if not given, `data.corpus`."""
    dev_root: Text | None = None
    """Folder of `data.dev_corpus`; if not given, `data.root`."""
    dev_protocols: Text | None = None
    """Folder of the protocols of `data.dev_corpus`. If not given, `data.protocols` is used if
    `data.dev_corpus` is `data.corpus`; otherwise the folder of `data.dev_corpus` is searched."""
    dev_keys: Text | None = None
    """Folder of the labels of `data.dev_corpus`, if the protocols hold no labels; if not given, the
    folder of the corpus is searched."""
    dev_phase: Annotated[Text | None, Source("Ensembling (Interspeech 2024): progress")] = None
    """Phase of the labels in `data.dev_keys` to which validation is restricted, such as `progress`;
    null for all labelled trials."""
    corpora: Annotated[list[CorpusConfig], Takes("a list of mappings with `name`, `root` and other keys")] = []
    """The corpora that are trained on together: a list of mappings of `name`, `root` and, as
    needed, `alias`, `weight`, `protocols`, `train_split`, `dev_split`, `dev_keys` and `dev_phase`.
    The keys from `data.corpus` to `data.dev_phase` are the short form of `data.corpora`, for a
    training corpus and perhaps another validation corpus."""
    balance: Annotated[list[Text], _NOT_LOGISTIC] = []
    """Fields whose values are drawn equally often, outermost first: `[corpus, class]` draws from
    each corpus equally often (or by its `weight`), and within a corpus from both classes equally
    often. A field is `corpus`, `class`, `attack`, `speaker`, `source` and so on, or a further
    column of a list; trials without a value count as one value. Each batch has these shares, up to
    rounding. Once all utterances of a group are drawn, the group begins again in another order."""
    speaker_cap: Annotated[Count | None, _NOT_LOGISTIC] = None
    """Largest number of utterances of a speaker in an epoch; each epoch draws other utterances. null sets no limit."""
    epoch_size: Annotated[Count | None, _NOT_LOGISTIC] = None
    """Number of utterances drawn in an epoch; if not given, the number of training utterances, after
    `data.speaker_cap`."""
    train_scores: Annotated[list[Text], Source("Ensembling (Interspeech 2024)")] = []
    """Score files of other systems on the training set, for a back-end that fuses their scores, in
    the order in which the back-end takes the systems."""
    dev_scores: Annotated[list[Text], Source("Ensembling (Interspeech 2024)")] = []
    """Score files of the systems in `data.train_scores` on the development set, in the same order."""
    score_range: Annotated[Literal["file", "test"], Source("Ensembling code: test")] = "file"
    """How the scores of the other systems are normalised: by the lowest and the highest score of
    the same system in `data.train_scores` (`file`), or in the file whose scores are normalised
    (`test`)."""
    num_samples: Annotated[
        Annotated[Count, Field(le=MAX_CROP_SAMPLES)] | None,
        Source("main.py: 4.04 s; CtrSVDD program: 64000"),
    ] = ASVSPOOF_SAMPLES
    """Number of samples of a training utterance, at 16 kHz. A shorter utterance is repeated. With
    `data.crop: pieces`, the largest number of samples of a piece; with `dynamic`, the number for
    validation only. null takes whole utterances, and needs `train.optimizer=logistic`."""
    crop: Annotated[
        Literal["head", "random", "random_tiled", "dynamic", "pieces"],
        _NOT_LOGISTIC,
        Source(
            "head: main.py; random: ASVspoof 5 program; random_tiled: CtrSVDD program; "
            "dynamic: arXiv 2309.08279; pieces: arXiv 2111.07725"
        ),
    ] = "head"
    """Samples to take from an utterance longer than `data.num_samples`: its first samples (`head`),
    or samples from a random position. A shorter utterance is repeated from its start or, with
    `random_tiled`, from a random position. `dynamic` is `random` with another length for each
    optimisation step, see `data.chunk_samples`. `pieces` cuts every utterance into consecutive
    pieces, in validation too; pieces of similar length share a batch, in which the shorter pieces
    are padded with zeros. With every crop except `pieces`, validation takes the head."""
    chunk_samples: Annotated[
        list[Count],
        Field(min_length=2, max_length=2),
        UsedWith("crop=dynamic"),
        Source("AASIST2 (arXiv 2309.08279), third-party code: 1 to 6 s"),
    ] = [16000, 96000]
    """Lowest and highest number of samples of the utterances of an optimisation step; all numbers
    between these limits are equally likely."""
    min_piece: Annotated[Count, UsedWith("crop=pieces"), Source("GF/LGF/LLGF code (arXiv 2111.07725)")] = 8000
    """Smallest number of samples of the last piece of an utterance; a shorter piece is left out. A
    whole utterance that is shorter is padded with zeros to this length."""
    order: Annotated[Literal["random", "blocks"], _NOT_LOGISTIC] = "random"
    """Order of the utterances of an epoch: every order is equally likely (`random`); or, for large or
    remote shards, utterances are drawn from `data.open_blocks` row groups at a time (`blocks`)."""
    open_blocks: Annotated[Count, UsedWith("order=blocks")] = 16
    """Number of row groups, record batches, or 4 MiB of tar shards, from which utterances are drawn at a
    time; for each value of `data.balance`."""
    cache_bytes: Natural = CACHE_BYTES
    """Bytes on the disk for parts of remote shards; 0 keeps none, and reads nothing ahead."""
    num_workers: Natural = 4
    """Number of processes that read and augment audio, for each training process. The weights do not
    depend on this number."""
    cache: Text | None = None
    """Folder that keeps decoded audio, which is memory-mapped from the second epoch on. Without this
    folder, every epoch decodes the audio again."""

    def _read_short_form(self) -> None:
        """`corpora` is the only form that other code reads; refuse both forms together."""
        fields = type(self).model_fields
        short_form = {key: self.__dict__.pop(key) for key in _SHORT_FORM if key in self.__dict__}
        if not self.corpora:
            self.corpora = _corpora_of_short_form(short_form)
            return
        for key, value in short_form.items():
            default = fields[key].default
            if value != default:
                raise InputError(
                    f"`data.{key}={yaml_word(value)}` applies to a single corpus; move it into an entry of `data.corpora`, and "
                    f"remove it or set it to {yaml_word(default)}"
                )

    def check(self) -> None:
        self._read_short_form()
        low, high = self.chunk_samples
        aliases = [corpus.called for corpus in self.corpora]
        repeated_aliases = find_repeated(aliases)
        refuse(
            (
                low > high,
                f"`data.chunk_samples` must be the lowest and the highest number, in this order, not {self.chunk_samples}",
            ),
            (
                self.crop == "pieces" and (self.num_samples is None or self.min_piece > self.num_samples),
                f"`data.min_piece` must be at most `data.num_samples` ({self.num_samples}), the length of the pieces, not "
                f"{self.min_piece}",
            ),
            (
                len(self.train_scores) != len(self.dev_scores),
                "`data.train_scores` and `data.dev_scores` name a file for each of the same systems, so there must be as "
                f"many of both, not {len(self.train_scores)} and {len(self.dev_scores)}",
            ),
            (
                repeated_aliases,
                f"several of `data.corpora` are called {', '.join(repeated_aliases)}: give each its own name with `alias`",
            ),
            (not self.parts("train"), "none of `data.corpora` trains: give one of them a `train_split`"),
            (not self.parts("dev"), "none of `data.corpora` validates: give one of them a `dev_split`"),
            (
                self.train_scores and max(len(self.parts("train")), len(self.parts("dev"))) > 1,
                "`data.train_scores` and `data.dev_scores` hold scores of one corpus each: remove them, or let one of "
                "`data.corpora` train and one validate",
            ),
            (
                self.order == "blocks" and self.crop == "pieces",
                "`data.crop=pieces` makes batches by the length of pieces, and `data.order=blocks` by another rule: "
                "remove one of them",
            ),
            (
                self.balanced and self.crop == "pieces",
                "`data.crop=pieces` makes batches by the length of pieces, and `data.balance`, `data.speaker_cap`, "
                "`data.epoch_size` and the `weight` of a corpus by other rules: remove one of them",
            ),
        )

    @property
    def weighted(self) -> bool:
        """Whether the run trains on several corpora, some with a weight."""
        return len(self.parts("train")) > 1 and any(corpus.weight is not None for corpus in self.corpora)

    @property
    def balanced(self) -> bool:
        """Whether an epoch draws by shares, limits or a given number, instead of each utterance once."""
        return bool(self.balance or self.speaker_cap or self.epoch_size or self.weighted)

    def parts(self, part: SetName) -> list[CorpusConfig]:
        """List the corpora of ``part``, which is ``train`` or ``dev``."""
        return [corpus for corpus in self.corpora if getattr(corpus, f"{part}_split") is not None]

    @property
    def short_form(self) -> dict[str, str | None] | None:
        """The keys of the short form that mean the same as `corpora`; None if it cannot express them.

        It has one training corpus and at most one other validation corpus.
        """
        train = self.corpora[0]
        dev = self.corpora[-1]
        if len(self.corpora) > 2 or train.train_split is None or dev.dev_split is None:
            return None
        dev_corpus: tuple[str | None, ...] = (None, None, None)
        if dev is not train:
            root = None if dev.root == train.root else dev.root
            dev_corpus = (dev.name, root, dev.protocols)
        values = (train.name, train.root, train.protocols, train.train_split, dev.dev_split)
        short_form = dict(
            zip(_SHORT_FORM, (*values, *dev_corpus, dev.dev_keys, dev.dev_phase), strict=True)
        )  # in the order of _SHORT_FORM
        return short_form if _corpora_of_short_form(short_form) == self.corpora else None

    def to_readable_dict(self) -> dict[str, object]:
        """Convert the section to plain data for people, in the short form if possible."""
        values = self.model_dump()
        if (short := self.short_form) is not None:
            del values["corpora"]
        return {**(short or {}), **values}

    def prefix_of(self, corpus: CorpusConfig, part: SetName) -> str:
        """Return the beginning of trial ids: the alias, if ``part`` has several corpora."""
        return f"{corpus.called}:" if len(self.parts(part)) > 1 else ""

    def key_of(self, corpus: CorpusConfig, key: str) -> str:
        """Find the full name of ``key``: `data.root`, `data.dev_root` or `data.corpora.ALIAS.root`."""
        if self.short_form is None:
            return f"data.corpora.{corpus.called}.{key}"
        is_dev_key = corpus is not self.corpora[0] and f"dev_{key}" in _SHORT_FORM
        return f"data.dev_{key}" if is_dev_key else f"data.{key}"


def _corpora_of_short_form(short_form: Mapping[str, Any]) -> list[CorpusConfig]:
    """Convert the keys of a recipe with a single corpus: one entry, or two if it validates on another corpus."""
    train = {"name": short_form["corpus"], "root": short_form["root"], "protocols": short_form["protocols"]}
    dev = {
        "name": short_form["dev_corpus"] or train["name"],
        "root": short_form["dev_root"] or train["root"],
        "protocols": short_form["dev_protocols"],
    }
    if dev["name"] == train["name"]:
        dev["protocols"] = dev["protocols"] or train["protocols"]
    train_split = short_form["train_split"]
    labels = {key: short_form[key] for key in ("dev_split", "dev_keys", "dev_phase")}
    if train == dev:
        return [CorpusConfig(**train, train_split=train_split, **labels)]
    alias = alias_of(dev["name"])
    if alias == alias_of(train["name"]):
        alias += "_dev"
    return [
        CorpusConfig(**train, train_split=train_split, dev_split=None),
        CorpusConfig(**dev, alias=alias, train_split=None, **labels),
    ]
