"""The recipe: every key with its type, range, default, meaning and source; reading a recipe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from os.path import isfile
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.errors import InputError, did_you_mean, nearest, shown
from nes2net.machine.yaml_text import hint_of, read_value, read_yaml_file
from nes2net.options import Takes, check_model, what_it_takes
from nes2net.recipes.keys import AlsoCalled, Source, UsedWith

#: The packaged recipes, one file for each published system; ``configs/`` links to them.
PACKAGED = Path(__file__).parent / "published"
_DEFAULT_MODEL = {
    "frontend": {"name": "xlsr_300m"},
    "aggregation": {"name": "last"},
    "backend": {"name": "nes2net_x"},
}
#: Samples of a label of 10 ms.
LABEL_SAMPLES = 160
#: Keys of ``data`` that say of one corpus what each of ``data.corpora`` says of itself, or that know one alone.
_OF_ONE_CORPUS = (
    *("corpus", "root", "protocols", "train_split", "dev_split", "dev_corpus", "dev_root", "dev_protocols", "dev_keys"),
    *("dev_phase", "train_scores", "dev_scores", "range_scores"),
)
_KEPT = "(last|best|[1-9][0-9]{0,8})"


def _not_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers")
    return value


def _text(value: Any) -> str:
    """Take a number as text, and text as it is: a path need not be valid Unicode."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("not text")


def _folder_part(text: str) -> str:
    if not text.isprintable() or any(part in text for part in ("/", "\\", "..")):
        raise ValueError("not a part of a folder's name")
    return text


def _alias(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text):
        raise ValueError("not an alias")
    return text


def _said(value: Any) -> str:
    """Write a value as in a recipe, where true is not Python's True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text_keys(values: Any) -> Any:
    """Take an empty section (``train:`` alone) as one without keys, and every key as text."""
    if values is None:
        return {}
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else values


Flag = Annotated[bool, Strict()]
Natural = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
AboveZero = Annotated[float, Field(gt=0), BeforeValidator(_not_boolean)]
NotNegative = Annotated[float, Field(ge=0), BeforeValidator(_not_boolean)]
Probability = Annotated[float, Field(ge=0, le=1), BeforeValidator(_not_boolean)]
Speed = Annotated[float, Field(ge=0.5, le=2), BeforeValidator(_not_boolean)]
BelowOne = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_not_boolean)]
Cosine = Annotated[float, Field(ge=-1, le=1), BeforeValidator(_not_boolean)]
Decay = Annotated[float, Field(gt=0, le=1), BeforeValidator(_not_boolean)]
Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})]
Alias = Annotated[
    Text,
    AfterValidator(_alias),
    Takes("a name of letters, digits, '_', '-' and '.'"),
]
FolderPart = Annotated[
    Text,
    AfterValidator(_folder_part),
    Takes("a part of a folder's name, without /, \\, .. and control characters"),
]


class Section(BaseModel):
    """Keys of a recipe that stand together.

    Raises:
        InputError: if a key is unknown, a value has the wrong type or is out of range, a key would
            change nothing, or two keys exclude each other.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    #: what stands before the keys of the section: ``train.``
    prefix: ClassVar[str] = ""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(self._problem(error.errors(include_url=False), values)) from error

    @classmethod
    def _problem(cls, problems: list[ErrorDetails], values: dict[str, Any]) -> str:
        """Say what is wrong with ``values``; an unknown key comes first."""
        problem = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            return str(cause)
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            key, section = f"{cls.prefix}{name[:100]}", cls.prefix.partition(".")[0]
            known = [f"{cls.prefix}{field}" for field in cls.model_fields]
            meant = did_you_mean(key, known, f"nes2net info recipe {section}".strip(), meant=meant_key(key))
            return f"unknown key '{key}' in the recipe{meant}"
        if problem["type"] == "missing":
            return f"a mapping of `{cls.prefix.removesuffix('.')}` has no `{name}`: {shown(values)}"
        schema = cls.model_json_schema()["properties"][name]
        if "type" not in schema and "anyOf" not in schema:  # a reference to a section
            return f"{name} is a mapping of keys, not {shown(values[name])}"
        meant = nearest(str(values[name])[:100], schema.get("enum", ()))
        return f"`{cls.prefix}{name}` is {what_it_takes(schema)}, not {shown(values[name])}{meant}"

    @model_validator(mode="after")
    def _check_uses(self) -> Section:
        """Refuse a key that changes nothing because another key does not use it."""
        for name, field in type(self).model_fields.items():
            value, default = getattr(self, name), field.default
            for used in (fact for fact in field.metadata if isinstance(fact, UsedWith)):
                chosen = getattr(self, used.choice)
                if chosen not in used.values and value != default:
                    raise InputError(
                        f"`{self.prefix}{name}={_said(value)}` changes nothing with "
                        f"`{self.prefix}{used.choice}={chosen}`: it goes with {' and '.join(used.values)}; leave it out, "
                        f"or set it to {_said(default)}"
                    )
        return self


class CorpusConfig(Section):
    """One of the corpora of `data.corpora`, with the parts of it that train and validate."""

    prefix: ClassVar[str] = "data.corpora[]."

    name: Annotated[Text, Source("toolkit")]
    """Name of the corpus in `nes2net check-data`, or `hub:OWNER/NAME`."""
    root: Annotated[Text | None, Source("toolkit")] = None
    """Folder of the corpus; only one of the hub needs none."""
    alias: Annotated[Alias | None, Source("toolkit")] = None
    """What it is called in ids of trials, histories and tables; if not given, its name. Two corpora
    with the same name, such as two lists of your own, need one each."""
    weight: Annotated[AboveZero | None, Source("toolkit")] = None
    """Its share of the draws of an epoch relative to that of the others. If one corpus has a weight,
    those without have 1. If none has one and `data.balance` does not name `corpus`, all utterances are
    equally likely, so that a corpus counts by its size."""
    protocols: Annotated[Text | None, Source("toolkit")] = None
    """Folder of its protocols; if not given, they are looked for in `root`."""
    train_split: Annotated[Text | None, Source("toolkit")] = "train"
    """Part of the corpus that is trained on; null for one that only validates."""
    dev_split: Annotated[Text | None, Source("toolkit")] = "dev"
    """Part of the corpus that validates; null for one that is only trained on."""
    dev_keys: Annotated[Text | None, Source("toolkit")] = None
    """Folder of the labels of `dev_split`, if its protocols do not hold them; if not given, they are
    looked for in `root`."""
    dev_phase: Annotated[Text | None, Source("toolkit")] = None
    """Phase of these labels to which validation is restricted; null for all labelled trials."""

    @model_validator(mode="after")
    def _check(self) -> CorpusConfig:
        if self.alias is None:
            self.alias = _alias_of(self.name)
        if self.train_split is None and self.dev_split is None:
            raise InputError(
                f"corpus {self.alias} of `data.corpora` neither trains nor validates: give it `train_split` or `dev_split`"
            )
        if self.train_split is None and self.weight is not None:
            raise InputError(
                f"corpus {self.alias} of `data.corpora` only validates, so its `weight` changes nothing: leave it out"
            )
        for key in ("dev_keys", "dev_phase"):
            if self.dev_split is None and getattr(self, key) is not None:
                raise InputError(
                    f"corpus {self.alias} of `data.corpora` does not validate, so its `{key}` changes nothing: leave it out"
                )
        return self

    @property
    def called(self) -> str:
        """Its alias."""
        assert self.alias is not None
        return self.alias


def _alias_of(name: str) -> str:
    """What a corpus is called that has no alias: the last part of its name.

    >>> _alias_of("asvspoof2019_la"), _alias_of("hub:OWNER/CodecFake@v1.0")
    ('asvspoof2019_la', 'CodecFake')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name.rpartition("/")[2].partition("@")[0]) or "corpus"


class DataConfig(Section):
    """The corpus, or the corpora, that are trained on."""

    prefix: ClassVar[str] = "data."

    corpus: Annotated[Text, Source("arXiv 2504.05657")] = "asvspoof2019_la"
    """Corpus that is trained on and whose development set validates, by its name in
    `nes2net check-data`."""
    root: Annotated[Text | None, AlsoCalled(("data_dir", "dataset_path")), Source("main.py --database_path")] = None
    """Folder of the corpus."""
    protocols: Annotated[Text | None, Source("main.py --protocols_path")] = None
    """Folder of the protocols; if not given, they are looked for in `data.root`."""
    train_split: Annotated[Text, Source("Ensembling (Interspeech 2024): dev")] = "train"
    """Part of the corpus that is trained on, such as `train`, `dev` or `eval`."""
    dev_split: Annotated[Text, Source("Ensembling (Interspeech 2024): eval, of ASVspoof 2021 LA")] = "dev"
    """Part of `data.dev_corpus` that validates."""
    dev_corpus: Annotated[Text | None, Source("Ensembling (Interspeech 2024): asvspoof2021_la")] = None
    """Corpus that validates; if not given, `data.corpus`."""
    dev_root: Annotated[Text | None, Source("toolkit")] = None
    """Folder of `data.dev_corpus`; if not given, `data.root`."""
    dev_protocols: Annotated[Text | None, Source("toolkit")] = None
    """Folder of the protocols of `data.dev_corpus`; if not given, they are looked for in its folder,
    or in `data.protocols` if it is the same corpus."""
    dev_keys: Annotated[Text | None, Source("toolkit")] = None
    """Folder of the labels of `data.dev_corpus`, if its protocols do not hold them; if not given,
    they are looked for in its folder."""
    dev_phase: Annotated[Text | None, Source("Ensembling (Interspeech 2024): progress")] = None
    """Phase of these labels to which validation is restricted, such as `progress`; null for all
    labelled trials."""
    corpora: Annotated[
        list[CorpusConfig], Takes("a list of mappings with `name`, `root` and other keys"), Source("toolkit")
    ] = Field(default=[])
    """Several corpora that are trained on together, instead of the keys above: a list of mappings of
    `name`, `root` and, as needed, `alias`, `weight`, `protocols`, `train_split`, `dev_split`, `dev_keys`
    and `dev_phase`."""
    balance: Annotated[list[Text], Source("toolkit")] = Field(default=[])
    """Fields whose values are drawn equally often, outermost first: `[corpus, class]` draws from each
    corpus equally often (or by its `weight`), and in each from both classes equally often. A field is
    `corpus`, `class`, `attack`, `speaker`, `source` and so on, or a further column of a list; trials
    without a value count as one value. Each batch has these shares up to rounding. Where utterances
    run out, they come again in another order."""
    speaker_cap: Annotated[Count | None, Source("toolkit")] = None
    """Most utterances of a speaker that an epoch takes; each epoch draws others. null takes all."""
    epoch_size: Annotated[Count | None, Source("toolkit")] = None
    """Utterances drawn in an epoch; if not given, as many as there are, after `data.speaker_cap`."""
    train_scores: Annotated[list[Text], Source("Ensembling (Interspeech 2024)")] = Field(default=[])
    """Score files of other systems on the training set, for a back-end that fuses them, in its
    order."""
    dev_scores: Annotated[list[Text], Source("Ensembling (Interspeech 2024)")] = Field(default=[])
    """Score files of the same systems on the development set."""
    score_range: Annotated[Literal["file", "test"], Source("Ensembling code: test")] = "file"
    """Scores of other systems are normalised by the lowest and the highest score of each system:
    those in `data.range_scores` (`file`), or those in the file that is read, also of the trials that
    are scored later (`test`)."""
    range_scores: Annotated[list[Text], UsedWith("score_range", ("file",)), Source("toolkit")] = Field(default=[])
    """Score files of the same systems on a development set, for `data.score_range`; if not given,
    `data.train_scores`."""
    num_samples: Annotated[
        Count | None, AlsoCalled(("max_length", "segment_length")), Source("main.py: 4.04 s; CtrSVDD program: 64000")
    ] = ASVSPOOF_SAMPLES
    """Samples of each training utterance, at 16 kHz. A shorter utterance is repeated. With
    `data.crop: pieces` most samples of a piece, with `dynamic` samples in validation alone. null
    takes whole utterances, which `train.optimizer=logistic` alone can do."""
    crop: Annotated[
        Literal["head", "random", "random_tiled", "dynamic", "pieces"],
        Source(
            "head: main.py; random: ASVspoof 5 program; random_tiled: CtrSVDD program; "
            "dynamic: arXiv 2309.08279; pieces: arXiv 2111.07725"
        ),
    ] = "head"
    """Part of a longer utterance that is trained on: its first samples (`head`), or samples from a
    random place. With `random` a shorter utterance is repeated from its start, with `random_tiled`
    from a random place. `dynamic` is `random` with another length for each optimisation step, see
    `data.chunk_samples`. `pieces` cuts every utterance into consecutive pieces, in validation too;
    pieces of similar length share a batch, in which zeros follow the shorter ones. Otherwise
    validation takes the head."""
    chunk_samples: Annotated[
        list[Count],
        Field(min_length=2, max_length=2),
        UsedWith("crop", ("dynamic",)),
        Source("AASIST2 (arXiv 2309.08279), third-party code: 1 to 6 s"),
    ] = Field(default=[16000, 96000])
    """Lowest and highest number of samples of an optimisation step; all numbers from one to the
    other are equally likely."""
    min_piece: Annotated[Count, UsedWith("crop", ("pieces",)), Source("GF/LGF/LLGF code (arXiv 2111.07725)")] = 8000
    """Fewest samples of the last piece of an utterance; a shorter one is left out. An utterance that
    is shorter as a whole stays, with zeros behind it up to this length."""
    num_workers: Annotated[Natural, Source("toolkit")] = 4
    """Processes that read and augment audio, for each training process. The weights do not depend
    on it."""
    cache: Annotated[Text | None, Source("toolkit")] = None
    """Folder that keeps decoded audio, which is memory-mapped from the second epoch on. Without it,
    every epoch decodes anew."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        low, high = self.chunk_samples
        if low > high:
            raise InputError(
                f"`data.chunk_samples` is the lowest and the highest number, in this order, not {self.chunk_samples}"
            )
        if self.crop == "pieces" and (self.num_samples is None or self.min_piece > self.num_samples):
            raise InputError(
                f"`data.min_piece` is at most `data.num_samples` ({self.num_samples}), of which the pieces are, not {self.min_piece}"
            )
        numbers = {len(files) for files in (self.train_scores, self.dev_scores, self.range_scores or self.train_scores)}
        if len(numbers) > 1:
            raise InputError(
                "`data.train_scores`, `data.dev_scores` and `data.range_scores` name a file for each of the same systems, "
                f"so they are equally many, not {', '.join(map(str, sorted(numbers)))}"
            )
        self._check_corpora()
        if self.balanced and self.crop == "pieces":
            raise InputError(
                "`data.crop=pieces` makes batches by the length of pieces, and `data.balance`, `data.speaker_cap`, "
                "`data.epoch_size` and the `weight` of a corpus by other rules: leave one of them out"
            )
        return self

    def _check_corpora(self) -> None:
        """Refuse keys of one corpus beside those of several, and several of the same alias."""
        if not self.corpora:
            return
        for key in _OF_ONE_CORPUS:
            value, default = getattr(self, key), type(self).model_fields[key].get_default(call_default_factory=True)
            if value != default:
                raise InputError(
                    f"`data.{key}={_said(value)}` is that of one corpus, beside `data.corpora`: give it to one of these "
                    f"corpora, and leave it out or set it to {'null' if default is None else _said(default)}"
                )
        aliases = [corpus.alias for corpus in self.corpora]
        if twice := [alias for place, alias in enumerate(aliases) if alias in aliases[:place]]:
            raise InputError(f"two of `data.corpora` are called {twice[0]}: give one of them another name with `alias`")
        for key, why in (("train_split", "trains"), ("dev_split", "validates")):
            if all(getattr(corpus, key) is None for corpus in self.corpora):
                raise InputError(f"none of `data.corpora` {why}: give one of them a `{key}`")

    @property
    def balanced(self) -> bool:
        """Whether an epoch draws by other rules than each utterance once."""
        weighted = any(corpus.weight is not None for corpus in self.corpora)
        return bool(self.balance or self.speaker_cap or self.epoch_size or weighted)

    def parts(self, part: Literal["train", "dev"]) -> dict[str | None, DataConfig]:
        """The settings of each corpus that trains or validates as if it were alone, by its alias.

        Without `data.corpora` they are these settings, by None.
        """
        if not self.corpora:
            return {None: self}
        keys = ("root", "protocols", "dev_keys", "dev_phase")
        found = dict[str | None, DataConfig]()
        for corpus in self.corpora:
            if getattr(corpus, f"{part}_split") is None:
                continue
            own = {key: getattr(corpus, key) for key in keys} | {"corpus": corpus.name, "corpora": []}
            own |= {key: value for key in ("train_split", "dev_split") if (value := getattr(corpus, key)) is not None}
            found[corpus.called] = self.model_copy(update=own)
        return found


class AugmentConfig(Section):
    """Speed, noise or reverberation, RawBoost, a condition, and a low-pass filter, in this order, before the crop.
    Validation has only RawBoost."""

    prefix: ClassVar[str] = "augment."

    algo: Annotated[
        int, Strict(), Field(ge=0, le=11), AlsoCalled(("rawboost",)), Source("main.py --algo; arXiv 2111.04433")
    ] = 0
    """Algorithm of RawBoost: 0 none, 1 convolutive noise, 2 impulsive noise, 3 stationary noise;
    4 to 11 combine these."""
    parameters: Annotated[dict[str, Any], Source("main.py: N_f, nBands, …; arXiv 2111.04433")] = Field(default={})
    """Parameters of RawBoost with other values than the published ones, by their published names."""
    speed: Annotated[
        Annotated[list[Speed], Field(min_length=2, max_length=2)] | None,
        Source("Ko et al., Interspeech 2015: 0.9, 1 or 1.1"),
    ] = None
    """Lowest and highest speed at which a training utterance is played, as `[0.9, 1.1]`. Pitch and
    formants move with it. It is drawn for each utterance and epoch, on a logarithmic scale."""
    musan: Annotated[Text | None, Source("ASVspoof 5 program; openslr.org/17")] = None
    """Folder of MUSAN, for background noise."""
    rir: Annotated[Text | None, Source("ASVspoof 5 program; openslr.org/28")] = None
    """Folder of room impulse responses, for reverberation."""
    noise_probability: Annotated[Probability | None, Source("ASVspoof 5 program: 0.5")] = None
    """Chance of a training utterance to get background noise or reverberation. If not given, it is
    0.5 with `augment.musan` or `augment.rir` and without `augment.conditions`, and otherwise 0."""
    conditions: Annotated[list[Text], Source("toolkit; docs/robustness.md")] = Field(default=[])
    """Conditions that training utterances meet, as `[mp3:16, white:10]`: codecs, channels, noise,
    rooms and others. An utterance meets one of them, all equally likely. Those of MUSAN and of
    measured rooms take the folders `augment.musan` and `augment.rir`, and babble the training speech."""
    condition_probability: Annotated[Probability, Source("toolkit")] = 0.5
    """Chance of a training utterance to meet one of `augment.conditions`."""
    rng: Annotated[Literal["utterance", "legacy"], Source("toolkit; legacy: main.py (deviation 8)")] = "utterance"
    """Random numbers of the augmentation: one stream for each seed, epoch and utterance
    (`utterance`), or one stream for all utterances in the published order (`legacy`)."""
    specmix: Annotated[dict[str, Any] | None, Source("arXiv 2306.15389; arXiv 2108.03020")] = None
    """Settings of Specmix, which mixes spectrograms between front-end and back-end in training:
    `frequency_bands`, `time_bands`, `gamma`, `probability`, `mix_labels`."""
    fir: Annotated[dict[str, Any] | None, Source("arXiv 2203.01573")] = None
    """Settings of a low-pass filter over training utterances: `band` (`telephone` or `wide`),
    `probability`, `taps`."""
    latent: Annotated[dict[str, Any] | None, Source("arXiv 2501.14240")] = None
    """Settings of latent augmentation, which perturbs embeddings of spoofed utterances before the
    last layer in training: `kinds`, `probability`, `noise`, `affine`, `mixup`, `factor`. `{}` takes
    the defaults."""

    @model_validator(mode="after")
    def _check(self) -> AugmentConfig:
        if self.noise_probability is None:
            self.noise_probability = 0.5 if (self.musan or self.rir) and not self.conditions else 0.0
        if (self.musan or self.rir) and not self.noise_probability and not self.conditions:
            raise InputError(
                "`augment.musan` and `augment.rir` change nothing with `augment.noise_probability=0`: "
                "leave them out, or set it to 0.5"
            )
        if self.speed and self.speed[0] > self.speed[1]:
            raise InputError(f"`augment.speed` is the lowest and the highest speed, in this order, not {self.speed}")
        if self.parameters and not self.algo:
            raise InputError(
                f"`augment.parameters` ({', '.join(self.parameters)[:100]}) change nothing with `augment.algo=0`: "
                "leave them out, or choose an algorithm from 1 to 11"
            )
        if self.conditions and not self.condition_probability:
            raise InputError(
                "`augment.conditions` change nothing with `augment.condition_probability=0`: leave them out"
            )
        if not self.conditions and self.condition_probability != 0.5:
            raise InputError(
                "`augment.condition_probability` changes nothing without `augment.conditions`: name some, such as "
                "[mp3:16, white:10], or leave it out"
            )
        return self


class TrainConfig(Section):
    """Optimisation. The defaults are those of the ASVspoof 2019 recipe (arXiv 2504.05657)."""

    prefix: ClassVar[str] = "train."

    epochs: Annotated[Count, Source("main.py --num_epochs")] = 100
    """Passes over the training set."""
    batch_size: Annotated[Count, Source("main.py --batch_size")] = 12
    """Utterances of an optimisation step, over all processes and all parts of `train.accumulate`.
    The last incomplete batch of an epoch is left out."""
    accumulate: Annotated[
        Count, AlsoCalled(("gradient_accumulation_steps", "accumulate_grad_batches")), Source("toolkit")
    ] = 1
    """Parts in which a batch goes through the network one after the other, to save memory. The
    loss is that of the whole batch; batch normalisation sees the parts."""
    optimizer: Annotated[
        Literal["adam", "adamw", "logistic"],
        Source(
            "adam: main.py; adamw: CtrSVDD program; Loshchilov and Hutter, ICLR 2019; logistic: Pascu et al., "
            "Interspeech 2024 (arXiv 2309.05384)"
        ),
    ] = "adam"
    """Optimiser. The weight decay of `adam` is an L2 term of the gradient; that of `adamw` is
    applied to the weights themselves. `logistic` takes no steps: scikit-learn fits the last layer
    by logistic regression on the embeddings that all else gives, frozen and without augmentation.
    Then learning rate, schedule and weight decay have no meaning, and `train.epochs` is 1."""
    logistic_c: Annotated[
        AboveZero, UsedWith("optimizer", ("logistic",)), Source("assumed; Pascu et al.: weak regularisation is best")
    ] = 1e6
    """C of the logistic regression, by which the loss counts against the L2 term ½|w|²; the larger,
    the weaker the regularisation. It is of embeddings whose dimensions have unit variance."""
    lr: Annotated[
        AboveZero, AlsoCalled(("learning_rate",)), Source("main.py --lr; 2.5e-7 in the published command")
    ] = 2.5e-7
    """Learning rate; with a schedule its highest value."""
    weight_decay: Annotated[NotNegative, Source("main.py --weight_decay")] = 1e-4
    """Weight decay, in the manner of `train.optimizer`."""
    adam_betas: Annotated[list[BelowOne], Field(min_length=2, max_length=2), Source("main.py (PyTorch's default)")] = (
        Field(default=[0.9, 0.999])
    )
    """Decay rates β₁ and β₂ of the means of the gradient and of its square."""
    adam_eps: Annotated[AboveZero, Source("main.py (PyTorch's default)")] = 1e-8
    """ε in the denominator of Adam's step."""
    amsgrad: Annotated[Flag, Source("SR-LA Res2Net code; Reddi et al., ICLR 2018")] = False
    """Divide by the largest mean of the squared gradient so far."""
    schedule: Annotated[
        Literal["constant", "cosine", "cosine_epochs", "inverse_sqrt", "step"],
        Source(
            "constant: main.py; cosine: ASVspoof 5 program; cosine_epochs: CtrSVDD program; "
            "inverse_sqrt: SR-LA Res2Net code, Vaswani et al. 2017, Section 5.3; "
            "step: GF/LGF/LLGF code (arXiv 2111.07725)"
        ),
    ] = "constant"
    """Course of the learning rate. `cosine` falls from `train.lr` to `train.min_lr` over all steps.
    `cosine_epochs` falls over `train.t_max` epochs, rises over as many, and so on; it changes once
    an epoch. `inverse_sqrt` rises to `train.lr` at step `train.warmup_steps` and then falls as
    1/√step. `step` multiplies by `train.decay_factor` every `train.decay_epochs` epochs."""
    min_lr: Annotated[
        NotNegative,
        UsedWith("schedule", ("cosine", "cosine_epochs")),
        Source("CtrSVDD program --min_lr: 1e-9; ASVspoof 5 program: 1e-7"),
    ] = 0.0
    """Lowest learning rate of a cosine; at most `train.lr`."""
    t_max: Annotated[Count, UsedWith("schedule", ("cosine_epochs",)), Source("CtrSVDD program --T_max")] = 5
    """Epochs from the highest learning rate to the lowest."""
    decay_epochs: Annotated[Count, UsedWith("schedule", ("step",)), Source("GF/LGF/LLGF code")] = 5
    """Epochs from one learning rate to the next."""
    decay_factor: Annotated[Probability, UsedWith("schedule", ("step",)), Source("GF/LGF/LLGF code")] = 0.5
    """The next learning rate divided by the one before."""
    warmup_steps: Annotated[Natural, Source("SR-LA Res2Net code: 1000")] = 0
    """Steps in which the learning rate rises linearly."""
    warmup_epochs: Annotated[
        Natural, UsedWith("schedule", ("cosine_epochs",)), Source("MoE code (arXiv 2409.11909): 3")
    ] = 0
    """Epochs in which the learning rate rises linearly, once an epoch, before the cosine; these are
    counted by `train.t_max`."""
    warmup_from_zero: Annotated[Flag, UsedWith("schedule", ("cosine_epochs",)), Source("MoE code: true")] = False
    """Begin the warm-up at 0, so that the first epoch changes no weight. Otherwise each of W epochs
    has an equal part of the way, the first one 1/(W + 1)."""
    plateau_patience: Annotated[Count | None, Source("Ensembling code (Interspeech 2024): 3")] = None
    """Validations in a row without a lower development loss after which the learning rate is halved;
    null never halves it. Counting starts again then."""
    max_grad_norm: Annotated[
        AboveZero | None, AlsoCalled(("gradient_clip_val", "clip_grad_norm", "grad_clip")), Source("toolkit")
    ] = None
    """L2 norm to which a longer gradient is scaled; null never scales."""
    loss: Annotated[
        Literal[
            "cross_entropy",
            "focal",
            "angular_softmax",
            "am_softmax",
            "oc_softmax",
            "p2sgrad",
            "prototypes",
            "distillation",
        ],
        Source(
            "cross_entropy: main.py --loss WCE; focal: CtrSVDD program; angular_softmax: SR-LA Res2Net code; "
            "am_softmax and oc_softmax: arXiv 2010.13995; p2sgrad: arXiv 2103.11326; prototypes: arXiv 2501.14240; "
            "distillation: arXiv 2309.08285"
        ),
    ] = "cross_entropy"
    """Loss: cross-entropy over two logits, focal loss on one logit, or a loss on embeddings, which
    brings a head of its own as the last layer of the back-end: `angular_softmax` (head `angular`),
    `am_softmax` (`cosine`), `oc_softmax` (`one_class`), `p2sgrad` and `prototypes` (of these names).
    `distillation` trains a student that imitates the embeddings of `train.teacher`; it needs the
    front-end `teacher_student` and the back-end `one_class_distillation`, and it is trained on the
    bona fide utterances alone. Validation has both classes, and its loss is that of the bona fide
    ones."""
    class_weights: Annotated[
        list[AboveZero],
        Field(min_length=2, max_length=2),
        UsedWith("loss", ("cross_entropy", "angular_softmax")),
        Source("main.py"),
    ] = Field(default=[0.1, 0.9])
    """Weights of spoof and of bona fide in the loss."""
    normalize_class_weights: Annotated[
        Flag, UsedWith("loss", ("cross_entropy",)), Source("true: main.py; false: MoE code (arXiv 2409.11909)")
    ] = True
    """Divide the sum of the weighted losses by the sum of the weights. Otherwise it is divided by the
    number of utterances, so a batch with more of the heavier class counts more."""
    focal_gamma: Annotated[
        NotNegative, UsedWith("loss", ("focal",)), Source("CtrSVDD program; Lin et al., ICCV 2017")
    ] = 2.0
    """γ of the focal loss: the larger, the less an easy utterance counts."""
    focal_alpha: Annotated[
        AboveZero, UsedWith("loss", ("focal",)), Source("CtrSVDD program; Lin et al., ICCV 2017")
    ] = 0.25
    """α of the focal loss. As published, it is the same for both classes, so it only scales the
    loss."""
    label_smoothing: Annotated[BelowOne, UsedWith("loss", ("focal",)), Source("CtrSVDD program: 0.1")] = 0.0
    """ε of the focal loss: its targets are ε/2 and 1 − ε/2."""
    angular_margin: Annotated[
        Count, UsedWith("loss", ("angular_softmax",)), Source("SR-LA Res2Net code; Liu et al., CVPR 2017")
    ] = 4
    """m of angular softmax, by which the angle to the own class is multiplied."""
    angular_lambda_min: Annotated[NotNegative, UsedWith("loss", ("angular_softmax",)), Source("SR-LA Res2Net code")] = (
        5.0
    )
    """Last λ of angular softmax. λ is max(min, max/(1 + decay·step)), so that the margin comes in
    gradually."""
    angular_lambda_max: Annotated[NotNegative, UsedWith("loss", ("angular_softmax",)), Source("SR-LA Res2Net code")] = (
        1500.0
    )
    """First λ of angular softmax."""
    angular_lambda_decay: Annotated[
        NotNegative, UsedWith("loss", ("angular_softmax",)), Source("SR-LA Res2Net code")
    ] = 0.1
    """How fast λ of angular softmax falls, per step."""
    am_scale: Annotated[AboveZero, UsedWith("loss", ("am_softmax",)), Source("AIR-ASVspoof code; AASIST2: 15")] = 20.0
    """Factor of the cosines in additive-margin softmax."""
    am_margin: Annotated[
        NotNegative
        | Annotated[
            dict[Literal["slope", "intercept"], NotNegative],
            Field(min_length=2),
            Takes("a mapping of `slope` and `intercept`, for slope · seconds + intercept"),
        ],
        UsedWith("loss", ("am_softmax",)),
        Source("AIR-ASVspoof code; by duration: arXiv 2309.08279, with slope 0.06 and intercept 0.14"),
    ] = 0.9
    """What additive-margin softmax takes off the cosine of the own class: a number, or more for a
    longer utterance."""
    oc_scale: Annotated[AboveZero, UsedWith("loss", ("oc_softmax",)), Source("arXiv 2010.13995")] = 20.0
    """Factor of the cosine in one-class softmax."""
    oc_bonafide_margin: Annotated[Cosine, UsedWith("loss", ("oc_softmax",)), Source("arXiv 2010.13995")] = 0.9
    """Cosine that one-class softmax asks bona fide utterances to exceed."""
    oc_spoof_margin: Annotated[
        Cosine, UsedWith("loss", ("oc_softmax",)), Source("arXiv 2010.13995; 0.5 is the default of its code")
    ] = 0.2
    """Cosine that one-class softmax asks spoofed utterances to stay below."""
    prototype_scale: Annotated[AboveZero, UsedWith("loss", ("prototypes",)), Source("assumption")] = 20.0
    """γ, the factor of the cosines to the prototypes."""
    prototype_margin: Annotated[NotNegative, UsedWith("loss", ("prototypes",)), Source("assumption")] = 0.2
    """Margin that is added to the angle to the own class, in radians."""
    prototype_collapse: Annotated[NotNegative, UsedWith("loss", ("prototypes",)), Source("assumption")] = 0.1
    """Weight of the mean positive cosine between two spoof prototypes."""
    prototype_separation: Annotated[NotNegative, UsedWith("loss", ("prototypes",)), Source("assumption")] = 0.1
    """Weight of the mean positive cosine between the prototypes of spoof and of bona fide."""
    teacher: Annotated[Text | None, UsedWith("loss", ("distillation",)), Source("toolkit")] = None
    """Checkpoint of a whole detector, the teacher of `train.loss: distillation`. It needs the
    front-end and the back-end of the teacher's half, and the aggregation `last`."""
    student_init: Annotated[
        Literal["teacher", "random"], UsedWith("loss", ("distillation",)), Source("assumed; arXiv 2309.08285")
    ] = "teacher"
    """What the student starts from: the teacher's weights of the same name and shape, so its first
    layers, or random weights."""
    distillation: Annotated[
        Literal["cosine", "mse"], UsedWith("loss", ("distillation",)), Source("arXiv 2309.08285: cosine is better")
    ] = "cosine"
    """Distance of the student's embeddings from the teacher's: 1 − cosine, or the mean squared
    difference."""
    precision: Annotated[
        Literal["fp32", "tf32", "bf16", "fp16"],
        AlsoCalled(("amp", "mixed_precision", "fp16", "bf16")),
        Source("toolkit"),
    ] = "fp32"
    """Precision of the forward pass; weights and optimiser stay in float32. `tf32` rounds what
    enters products and convolutions to 10 bits (TF32). It needs CUDA, as does `fp16`; on a GPU,
    `bf16` needs compute capability 8.0."""
    deterministic: Annotated[Flag, Source("main.py --cudnn-deterministic-toggle")] = True
    """Take algorithms that repeat themselves, so that the same recipe gives the same weights, bit
    for bit, also after an interruption. Without it a GPU is faster, and weights differ in the last
    digits. The CPU always repeats itself."""
    cudnn_benchmark: Annotated[Flag, Source("main.py --cudnn-benchmark-toggle")] = False
    """Let cuDNN time its algorithms on a GPU and take the fastest, which may be another one the
    next time."""
    activation_checkpointing: Annotated[Flag, Source("toolkit")] = False
    """Compute the activations of the transformer layers again in the backward pass instead of
    keeping them: less memory, more time."""
    compile: Annotated[Flag, Source("toolkit")] = False
    """Compile front-end and back-end with `torch.compile`. It is the forward pass of a back-end that
    is compiled, which neither a loss on embeddings nor `augment.latent` goes through."""
    freeze_frontend_epochs: Annotated[Natural, Source("CtrSVDD program --SSL_freeze_epoch")] = 0
    """First epochs in which the front-end is not trained."""
    freeze_frontend: Annotated[Flag, Source("MoE code; GF/LGF/LLGF code, fixed front-end")] = False
    """Never train the front-end. It is left out of the optimiser, and keeps no gradients and no
    activations."""
    frontend_mode: Annotated[
        Literal["eval", "train"], Source("eval: CtrSVDD, MoE and GF/LGF/LLGF code; train: Lightning before 2.2")
    ] = "eval"
    """Mode of a front-end while it is not trained. In `train` mode its dropout and layer drop are
    on."""
    freeze_layers: Annotated[Natural | None, Source("toolkit; wav2vec 2.0, Section 4.3: the convolutions")] = None
    """Number of transformer layers, from the first one on, that are never trained, and with them all
    that lies before the layers: convolutions, projection, and the encoding of positions. 0 freezes
    only that; null freezes nothing."""
    layer_decay: Annotated[Decay, Source("BEiT code (arXiv 2106.08254); ELECTRA (arXiv 2003.10555)")] = 1.0
    """Layer-wise decay x of the learning rate from the top: transformer layer l of L is trained with
    the rate · x^(L + 1 − l), what lies before the layers with the rate · x^(L + 1), all after them
    with the rate itself."""
    adapt: Annotated[
        dict[str, Any] | None, Source("LoRA: arXiv 2106.09685; DoRA: arXiv 2402.09353; adapters: arXiv 1902.00751")
    ] = None
    """Parameter-efficient fine-tuning: train little beside a front-end whose own weights stay as they
    are. A mapping of `kind` (`lora`, `dora`, `adapter`, `prompt` or `bitfit`) and its settings, as
    `{kind: lora, rank: 8, alpha: 16, targets: attention}`. `epoch_N.pth` and `resume.pt` then hold
    what is trained, and name the file of the rest by its SHA-256. null trains the front-end itself."""
    init_from: Annotated[Text | None, Source("main.py --model_path")] = None
    """Checkpoint of a whole detector to start from."""
    keep: Annotated[
        str,
        Field(pattern=rf"^\s*(improved|all|{_KEPT}(\s*,\s*{_KEPT})*)\s*$"),
        Takes("improved, all, or any of last, best and a number, joined by commas"),
        Source("improved: main.py"),
    ] = "improved"
    """Files `epoch_N.pth` that are kept: of each epoch whose loss was at most the best so far
    (`improved`), of all epochs (`all`), or of the `last`, the `best` and the k best epochs (a
    number k)."""
    save_every_minutes: Annotated[NotNegative, Source("toolkit")] = 10.0
    """Minutes between two saves of `resume.pt` within an epoch."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.min_lr > self.lr:
            raise InputError(f"`train.min_lr` is from 0 to `train.lr` ({self.lr}), not {self.min_lr}")
        if self.warmup_epochs:
            if self.warmup_epochs >= self.t_max:
                raise InputError(
                    f"`train.warmup_epochs` is below `train.t_max` ({self.t_max}), which counts them, not {self.warmup_epochs}"
                )
            if self.warmup_steps:
                raise InputError(
                    "`train.warmup_steps` and `train.warmup_epochs` are two ways to warm up: leave one of them out"
                )
        elif self.warmup_from_zero:
            raise InputError(
                "`train.warmup_from_zero=true` changes nothing without `train.warmup_epochs`: leave it out, or name them"
            )
        self._check_frozen()
        return self

    def _check_frozen(self) -> None:
        frozen = "`train.freeze_frontend=true`"
        if self.freeze_frontend and self.freeze_frontend_epochs:
            raise InputError(f"`train.freeze_frontend_epochs` changes nothing with {frozen}: leave it out")
        if self.freeze_frontend and self.activation_checkpointing:
            raise InputError(
                f"`train.activation_checkpointing=true` changes nothing with {frozen}, which keeps no activations of "
                "the front-end: leave it out"
            )
        for key in ("adapt", "freeze_layers"):
            if self.freeze_frontend and getattr(self, key) is not None:
                raise InputError(f"`train.{key}` changes nothing with {frozen}: leave one of them out")
        if self.adapt is not None and self.freeze_layers is not None:
            raise InputError(
                "`train.freeze_layers` changes nothing with `train.adapt`, which trains no weight of the front-end: "
                "leave one of them out"
            )
        if self.adapt is not None and self.loss == "distillation":
            raise InputError(
                "`train.adapt` has no front-end to adapt with `train.loss=distillation`, which trains a student: "
                "leave one of them out"
            )
        if self.layer_decay < 1 and self.freeze_frontend:
            raise InputError(f"`train.layer_decay` changes nothing with {frozen}: leave one of them out")
        if self.optimizer == "logistic":
            for key in ("adapt", "freeze_layers", "layer_decay"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise InputError(
                        f"`train.{key}` changes nothing with `train.optimizer=logistic`, which fits the last layer "
                        "alone: leave it out"
                    )
        if self.frontend_mode == "train" and not (self.freeze_frontend or self.freeze_frontend_epochs):
            raise InputError(
                "`train.frontend_mode=train` changes nothing for a front-end that is trained: it goes with "
                f"{frozen} and `train.freeze_frontend_epochs`; leave it out"
            )


class SegmentsConfig(Section):
    """Losses of frames, which learn where an utterance is fake, beside that of the utterance (`train.loss`)."""

    prefix: ClassVar[str] = "segments."

    resolutions: Annotated[
        list[Count],
        Takes("a list of whole numbers of at least 1"),
        Source("arXiv 2204.05177: 20, 40, 80, 160, 320 and 640, or one of them; WeDefense: 20"),
    ] = Field(default=[])
    """Lengths in ms of the frames that are trained on, multiples of 10 that the back-end gives; empty
    trains on whole utterances alone. The corpus needs labels of segments. A frame is spoof if any
    10 ms of it are. The losses of all resolutions are added."""
    loss: Annotated[
        Literal["cross_entropy", "p2sgrad"],
        Source("p2sgrad: arXiv 2204.05177; cross_entropy: WeDefense"),
    ] = "cross_entropy"
    """Loss of a frame: cross-entropy over two logits, or the mean squared error of the cosines to two
    class vectors (`p2sgrad`). It is averaged over all frames of a batch that have a label, whichever
    utterance they are of."""
    class_weights: Annotated[
        list[AboveZero],
        Field(min_length=2, max_length=2),
        UsedWith("loss", ("cross_entropy",)),
        Source("assumed: both classes weigh alike"),
    ] = Field(default=[0.5, 0.5])
    """Weights of spoof and of bona fide frames in the loss."""
    utterance_weight: Annotated[NotNegative, Source("arXiv 2204.05177, code: 1, or 0 without its scale utt")] = 1.0
    """Factor of the loss of the utterance, which is added to those of the frames; 0 trains on frames
    alone."""
    boundary_share: Annotated[Probability | None, Source("assumed: 0.5 in our recipe")] = None
    """Share of the crops that hold a boundary between bona fide and spoof, of utterances that have
    crops of both kinds; null takes crops as they come. It goes with `data.crop` random and dynamic."""

    @model_validator(mode="after")
    def _check(self) -> SegmentsConfig:
        if not self.resolutions:
            for name, field in type(self).model_fields.items():
                if getattr(self, name) != field.get_default(call_default_factory=True):
                    raise InputError(
                        f"`segments.{name}` changes nothing without `segments.resolutions`: name these, or leave it out"
                    )
        unusable = [ms for ms in self.resolutions if ms % 10]
        if unusable or len(set(self.resolutions)) < len(self.resolutions):
            raise InputError(
                f"`segments.resolutions` are different multiples of 10 ms, of which the labels are, not {self.resolutions}"
            )
        return self


class ValidationConfig(Section):
    """What is measured on the development set, when, and what follows from it."""

    prefix: ClassVar[str] = "validation."

    augmented: Annotated[Flag, Source("main.py")] = True
    """Pass the development set a second time with RawBoost, if the recipe has RawBoost."""
    whole_utterances: Annotated[Flag, Source("CtrSVDD program: true")] = False
    """Take whole utterances, one at a time, instead of their first `data.num_samples`."""
    first_epoch: Annotated[Count, Source("ASVspoof 5 program: its epoch 10, the eleventh")] = 1
    """First epoch that is validated; epochs are numbered from 1. The last epoch always is."""
    epochs: Annotated[Literal["all", "around_minima"], Source("all: main.py; around_minima: CtrSVDD program")] = "all"
    """Epochs that are validated: all, or the first and those around each lowest learning rate of
    `train.schedule: cosine_epochs` (`around_minima`)."""
    select_on: Annotated[
        Literal["loss", "eer", "min_dcf", "segment_eer", "train_loss"],
        Source(
            "loss: main.py (deviation 13); eer: CtrSVDD program; min_dcf: ASVspoof 5 program (deviation 14); "
            "segment_eer: toolkit; train_loss: MoE code (arXiv 2409.11909)"
        ),
    ] = "loss"
    """Measure whose lowest value makes the best epoch: one of the development set, or the mean
    training loss of an epoch (`train_loss`), which every epoch has. `segment_eer` is the EER of the
    shortest frames of `segments.resolutions`."""
    over: Annotated[
        Literal["pooled", "mean", "worst"], UsedWith("select_on", ("eer", "min_dcf")), Source("toolkit")
    ] = "pooled"
    """With `data.corpora`, where `validation.select_on` is taken: over all development trials together
    (`pooled`), as the mean of the corpora's own values (`mean`), or as the highest of them (`worst`)."""
    patience: Annotated[
        Count | None, AlsoCalled(("early_stopping", "early_stopping_patience")), Source("ASVspoof 5 program: 5")
    ] = None
    """Validations without a better one after which training stops; null never stops early. With
    `train_loss` it counts epochs."""
    mode: Annotated[Literal["eval", "train"], Source("eval: main.py; train: GF/LGF/LLGF code (arXiv 2111.07725)")] = (
        "eval"
    )
    """Mode of the network on the development set. In `train` mode dropout is on, and the running
    statistics of batch normalisation move on development data; one process alone can do this."""


class Recipe(Section):
    """Everything that determines a training run."""

    name: Annotated[FolderPart, Source("main.py --model_name")] = "run"
    """Second part of the run folder's name. Where an override, or a recipe over its base, names other
    parts of the model, these make the name, and `comment` is left out, unless they are given there too."""
    seed: Annotated[
        int,
        Strict(),
        Field(ge=0, lt=2**63),  # no seed of PyTorch's generators is larger
        Takes("a whole number from 0 to below 2^63"),
        Source("main.py --seed"),
    ] = 1234
    """Seed of everything random: weights, order of the utterances, augmentation, dropout."""
    model: Annotated[dict[str, Any], AfterValidator(check_model), Source("main.py --model_name; arXiv 2504.05657")] = (
        Field(default=_DEFAULT_MODEL)
    )
    """`frontend`, `aggregation` and `backend`, each a name or a mapping of `name` and options."""
    ssl_checkpoint: Annotated[
        Text | None, AlsoCalled(("pretrained", "pretrained_model")), Source("main.py: xlsr2_300m.pt")
    ] = None
    """Pre-training file of the front-end; null starts from random weights."""
    data: Annotated[DataConfig, BeforeValidator(_text_keys)] = Field(default_factory=DataConfig)
    augment: Annotated[AugmentConfig, BeforeValidator(_text_keys)] = Field(default_factory=AugmentConfig)
    train: Annotated[TrainConfig, BeforeValidator(_text_keys)] = Field(default_factory=TrainConfig)
    segments: Annotated[SegmentsConfig, BeforeValidator(_text_keys)] = Field(default_factory=SegmentsConfig)
    validation: Annotated[ValidationConfig, BeforeValidator(_text_keys)] = Field(default_factory=ValidationConfig)
    date: Annotated[FolderPart, Source("main.py --date")] = "unknown"
    """First part of the run folder's name."""
    comment: Annotated[FolderPart | None, Source("main.py --comment")] = None
    """Last part of the run folder's name."""
    output: Annotated[Text, AlsoCalled(("output_dir", "out", "save_dir")), Source("main.py")] = "models"
    """Folder in which the run folder is made."""
    logs: Annotated[Text, Source("main.py")] = "logs"
    """Folder of the TensorBoard logs."""
    tracker: Annotated[Literal["wandb", "mlflow"] | None, AlsoCalled(("logger", "report_to")), Source("toolkit")] = None
    """Where the values of each epoch go besides TensorBoard's logs: Weights & Biases (`wandb`) or
    MLflow (`mlflow`), whose own environment variables hold, such as `WANDB_MODE` and
    `MLFLOW_TRACKING_URI`."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        schedule = self.train.schedule
        if self.validation.epochs == "around_minima" and schedule != "cosine_epochs":
            raise InputError(
                "`validation.epochs=around_minima` goes with `train.schedule=cosine_epochs`, whose minima they are, "
                f"not with {schedule}"
            )
        if self.validation.epochs == "around_minima" and self.train.warmup_epochs:
            raise InputError(
                "`validation.epochs=around_minima` knows the minima of a cosine without `train.warmup_epochs`: leave "
                "these out, or take `validation.epochs=all`"
            )
        if self.augment.speed and self.data.crop == "pieces":
            raise InputError(
                "`augment.speed` changes the length of a piece, by which `data.crop=pieces` makes batches: leave it "
                "out, or take `data.crop=random`"
            )
        if self.augment.latent is not None and self.train.loss == "distillation":
            raise InputError(
                "`augment.latent` perturbs spoofed utterances, and `train.loss=distillation` trains on bona fide ones "
                "alone: leave it out"
            )
        if self.validation.over != "pooled" and len(self.data.parts("dev")) < 2:
            raise InputError(
                f"`validation.over={self.validation.over}` needs several development corpora in `data.corpora`: leave it out"
            )
        self._check_segments()
        if self.train.optimizer == "logistic":
            self._check_logistic()
        elif self.data.num_samples is None:
            raise InputError("`data.num_samples=null`, whole utterances, goes with `train.optimizer=logistic` only")
        return self

    def _check_segments(self) -> None:
        """Refuse what does not go with labels of frames, or with their absence."""
        segments, data, augment = self.segments, self.data, self.augment
        if not segments.resolutions:
            if self.validation.select_on == "segment_eer":
                raise InputError(
                    "`validation.select_on=segment_eer` needs frames: name their lengths with `segments.resolutions`"
                )
            return
        if augment.specmix is not None:
            raise InputError(
                "`augment.specmix` mixes what the labels of `segments.resolutions` are about: leave one of them out"
            )
        for key, value in (("optimizer", "logistic"), ("loss", "distillation")):
            if getattr(self.train, key) == value:
                raise InputError(
                    f"`segments.resolutions` goes with gradient steps on both classes, not with `train.{key}={value}`: "
                    "leave one of them out"
                )
        if segments.boundary_share is not None and data.crop not in ("random", "dynamic"):
            raise InputError(
                f"`segments.boundary_share` chooses random crops, and `data.crop={data.crop}` has none to choose: leave "
                "it out, or set `data.crop=random`"
            )
        if data.crop == "pieces" and data.num_samples is not None and data.num_samples % LABEL_SAMPLES:
            raise InputError(
                f"`data.num_samples={data.num_samples}` cuts pieces within a label of 10 ms: with "
                f"`segments.resolutions` take a multiple of {LABEL_SAMPLES}"
            )

    def _check_logistic(self) -> None:
        """Refuse what logistic regression would not do."""
        if self.augment.model_copy(update={"rng": "utterance"}) != AugmentConfig():
            raise InputError(
                "`train.optimizer=logistic` embeds each utterance once, without augmentation: leave the section augment out"
            )
        if self.data.crop != "head":
            raise InputError(
                f"`train.optimizer=logistic` takes the head of an utterance: leave out `data.crop={self.data.crop}`"
            )
        if self.data.balanced:
            raise InputError(
                "`train.optimizer=logistic` fits every utterance once: leave out `data.balance`, `data.speaker_cap`, "
                "`data.epoch_size` and the `weight` of a corpus"
            )
        if self.train.epochs != 1:
            raise InputError(
                f"`train.optimizer=logistic` fits in one go: set `train.epochs=1`, not {self.train.epochs}"
            )
        if self.validation.mode == "train":
            raise InputError(
                "`validation.mode=train` moves batch statistics, and `train.optimizer=logistic` changes the last layer "
                "alone: leave it out"
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, in the order of its keys."""
        return self.model_dump()

    def check_noise(self) -> None:
        """Raise :class:`InputError` if the recipe adds noise but no folder of noise is named.

        The folders are the user's, so no packaged recipe can name them.
        """
        augment = self.augment
        if augment.noise_probability and not (augment.musan or augment.rir):
            raise InputError(
                f"the recipe adds noise or reverberation to {augment.noise_probability:.0%} of the utterances: name "
                "the folders with `augment.musan=…` (MUSAN, openslr.org/17) and `augment.rir=…` (RIRS_NOISES, "
                "openslr.org/28), or train without: `augment.noise_probability=0`"
            )

    @property
    def tag(self) -> str:
        """Name of the run folder, as published; the seed stays for algorithms 10 and 11 too.

        >>> Recipe(name="wav2vec2_Nes2Net_X", date="0520", seed=12345, augment=AugmentConfig(algo=4)).tag
        '0520_wav2vec2_Nes2Net_X_e100_bz12_lr2.5e-07_algo4_seed12345'
        """
        algo = f"algo{self.augment.algo}"
        if self.augment.algo >= 10:
            ratios = {k: self.augment.parameters.get(f"{k}_ratio", 1.0) for k in ("LnL", "ISD", "SSI")}
            algo += "".join(f"_{kind}{int(10 * ratio)}" for kind, ratio in ratios.items())
        train = self.train
        tag = f"{self.date}_{self.name}_e{train.epochs}_bz{train.batch_size}_lr{train.lr}_{algo}_seed{self.seed}"
        return f"{tag}_{self.comment}" if self.comment else tag


SECTIONS: dict[str, type[Section]] = {
    kind.prefix.removesuffix("."): kind
    for kind in (DataConfig, AugmentConfig, TrainConfig, SegmentsConfig, ValidationConfig)
}


#: Lists of mappings: the key of a list → what each of its mappings is.
ITEMS: dict[str, type[Section]] = {"data.corpora": CorpusConfig}


def meant_key(name: str) -> str:
    """Ask for the key that the unknown ``name`` probably means, for the end of a message; empty if none is near.

    A key is known by its last part, by what other programs call it, and by the flags that its
    source names. Those of the section that was given come first, then the others.
    """
    section, _, last = name.rpartition(".")
    kinds: list[type[Section]] = [Recipe, *SECTIONS.values(), *ITEMS.values()]
    words: dict[str, str] = {}
    for kind in sorted(kinds, key=lambda kind: kind.prefix.removesuffix(".") != section):
        for key, field in kind.model_fields.items():
            facts = (fact for fact in field.metadata if isinstance(fact, (AlsoCalled, Source)))
            for word in (key, *(other for fact in facts for other in fact.names)):
                words.setdefault(word, f"{kind.prefix}{key}")
    own = [word for word, key in words.items() if key.rpartition(".")[0] == section]
    close = difflib.get_close_matches(last, own, n=1) or difflib.get_close_matches(last, words, n=1, cutoff=0.8)
    meant = words.get(last) or (words[close[0]] if close else None)
    return f"; did you mean '{meant}'?" if meant else ""


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, a YAML file or a packaged recipe by name, and apply ``key=value`` overrides.

    ``base: other.yaml``, a file beside it, takes over what the recipe does not say: sections are
    merged key by key, the parts of the model are replaced whole. A base has no base itself. Where an
    override or a recipe with a base names another front-end, aggregation or back-end and no name, the
    run is called by its parts (:func:`named_after_model`).

    Raises:
        InputError: if there is no such recipe, or its text or an override is wrong. An unknown key
            or name is answered with the nearest one.
    """
    path, overrides = _find(recipe), list(overrides)
    values = _with_base(path, _read_file(path))
    given = {override.partition("=")[0] for override in overrides}
    return recipe_from_dict(named_after_model(values, apply_overrides(values, overrides), given))


def named_after_model(before: Mapping[str, Any], after: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """``after`` without the name and comment that it has from ``before``, if its model has other parts.

    It is then called by its parts, so that no run bears the name of a system that it is not.

    Args:
        given: the keys that ``after`` has of its own.

    >>> published = {"name": "wav2vec2_AASIST", "model": {"frontend": "xlsr_300m", "backend": {"name": "aasist"}}}
    >>> named_after_model(published, {**published, "model": {"frontend": "lps", "backend": "aasist"}}, ())["name"]
    'lps_aasist'
    """
    own = _names_of_parts(after)
    if own == _names_of_parts(before):
        return after
    frontend, aggregation, backend = own
    called = {"name": "_".join([frontend, *([] if aggregation == "last" else [aggregation]), backend]), "comment": None}
    return after | {key: value for key, value in called.items() if key in before and key not in given}


def _names_of_parts(values: Mapping[str, Any]) -> list[str]:
    """The names of front-end, aggregation and back-end; what is wrong is left to the check of the recipe."""
    model = values.get("model", _DEFAULT_MODEL)
    parts = [model.get(part, "last") if isinstance(model, dict) else "" for part in _DEFAULT_MODEL]
    return [str(part.get("name") if isinstance(part, dict) else part) for part in parts]


def packaged_recipes() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def _find(recipe: str | Path) -> Path:
    path, names = Path(recipe), packaged_recipes()
    if isfile(path):
        return path
    if str(recipe) in names:
        return PACKAGED / f"{recipe}.yaml"
    raise InputError(
        f"recipe {recipe} is neither a YAML file nor a packaged recipe{did_you_mean(path.stem, names, 'nes2net info')}"
    )


def _read_file(path: Path) -> dict[str, Any]:
    values = read_yaml_file(path, Recipe, f"recipe {path}")
    if not isinstance(values, dict | None):
        raise InputError(f"recipe {path} is a mapping of keys, not a {type(values).__name__}")
    return values or {}


def _with_base(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    if "base" not in values:
        return values
    own = {key: value for key, value in values.items() if key != "base"}
    base = values["base"]
    if not isinstance(base, str) or not base or Path(base).name != base:
        raise InputError(f"recipe {path}: base is the name of a file beside it, not {shown(base)}")
    base_path = path.parent / base
    if not isfile(base_path):
        raise InputError(f"recipe {path} builds on {base_path}, which is not there: base is a file beside it")
    of_base = _read_file(base_path)
    if "base" in of_base:
        raise InputError(
            f"recipe {path} builds on {base_path}, which has a base itself: name {shown(of_base['base'])} as base"
        )
    merged = dict(of_base)
    for key, value in own.items():
        both = isinstance(value, dict | None) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **(value or {})} if both else value
    return merged if own.keys() & {"name", "comment"} else named_after_model(of_base, merged, own)


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Build and check a :class:`Recipe`.

    Raises:
        InputError: as :class:`Section`.
    """
    if not isinstance(values, dict):
        raise InputError(f"a recipe is a mapping of keys, not {shown(values)}")
    return Recipe(**_text_keys(values))


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply ``key.key=value`` strings to ``values``. A value is YAML, unless the key takes text.

    >>> apply_overrides({"train": {"lr": 0.1}}, ["train.lr=1e-6", "model.backend=aasist", "date=0520"])
    {'train': {'lr': 1e-06}, 'model': {'backend': 'aasist'}, 'date': '0520'}

    A corpus of ``data.corpora`` is named by its alias or name.

    >>> apply_overrides({"data": {"corpora": [{"name": "for"}]}}, ["data.corpora.for.root=DB"])
    {'data': {'corpora': [{'name': 'for', 'root': 'DB'}]}}
    """
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        keys, equals, text = override.partition("=")
        if not equals or not keys:
            raise InputError(f"override {shown(override)} is not of the form key=value")
        *parents, last = keys.split(".")
        if parents[:2] == ["data", "corpora"]:
            _override_corpus(values, parents[2:], last, text, override)
            continue
        place, hint = values, Recipe
        for parent in parents:
            child = place.get(parent)
            if isinstance(child, str) and parents[0] == "model":  # a bare name that is given options
                child = {"name": child}
            place[parent] = dict(child) if isinstance(child, dict) else {}
            place, hint = place[parent], hint_of(hint, parent)
        place[last] = read_value(text, hint_of(hint, last), f"override {shown(override)}: the value")
    return values


def _override_corpus(values: dict[str, Any], names: list[str], key: str, text: str, override: str) -> None:
    """Apply ``data.corpora.NAME.key=text``; a name or alias may have dots."""
    data, name = dict(values.get("data") or {}), ".".join(names)
    listed = data.get("corpora")
    corpora = (
        [dict(corpus) if isinstance(corpus, dict) else {} for corpus in listed] if isinstance(listed, list) else []
    )
    called = [corpus.get("alias") or _alias_of(str(corpus.get("name", ""))) for corpus in corpora]
    if name not in called:
        raise InputError(
            f"override {shown(override)}: `data.corpora` has no '{name}'; it has {', '.join(called) or 'no corpus'}"
        )
    what = f"override {shown(override)}: the value"
    corpora[called.index(name)][key] = read_value(text, hint_of(CorpusConfig, key), what)
    values["data"] = {**data, "corpora": corpora}
