"""Read and check the YAML file of an experiment, which describes its runs, seeds and evaluations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from nes2net.data.audio.waveform import MAX_CROP_SAMPLES
from nes2net.data.corpora.protocol import find_repeated
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, check_known, did_you_mean, short_repr
from nes2net.lib.storage.files import AnyPath, Budget, has_no_file, json_text
from nes2net.lib.storage.plain_data import MAX_BYTES, first_problem
from nes2net.lib.storage.yaml_text import read_yaml_file, set_value
from nes2net.metrics.registry import metrics

PACKAGED = Path(__file__).parent / "packaged"
_VARIABLE = re.compile(r"\$\{(\w+)\}")

#: A name that becomes a part of file names.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}$")]
PositiveInteger = Annotated[int, Field(ge=1)]
#: Text without control characters: a line feed would begin a new line in a batch script or a table.
TextLine = Annotated[str, StringConstraints(pattern=r"^\P{Cc}*$", max_length=1000)]
#: A value in a batch script, without characters that a shell interprets, and without `/`, so that it is no path.
BatchValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:=+@%\[\]-]{1,200}$")]
#: Allowed options of `sbatch`: where a job runs, and with which resources. The values of all others are files,
#: commands or variables.
_BATCH_OPTIONS = (
    "account|clusters|comment|constraint|cpus-per-gpu|exclude|exclusive|gres|hint|licenses|mail-type|mail-user|"
    "mem-per-cpu|mem-per-gpu|nice|nodelist|qos|reservation|switches|threads-per-core|tmp|wckey"
)
BatchOption = Annotated[str, StringConstraints(pattern=rf"^({_BATCH_OPTIONS})$")]


class _Section(BaseModel):
    """A section of the file: unknown keys, and values of a wrong type, are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: object) -> object:
        check_known(values if isinstance(values, dict) else (), cls.model_fields, "there is no key")
        return values


def metric_names() -> list[str]:
    return ["eer", "min_tdcf", "min_dcf", *(metric.name for metric in metrics.added("scores"))]


class Average(_Section):
    """Which checkpoint of a run is scored: the best checkpoint, or the average of the best checkpoints.

    In the file, a number stands for `best`.
    """

    best: PositiveInteger
    """Number of checkpoints that are averaged: the checkpoints with the lowest values of `by`."""
    mode: Literal["mean", "legacy"] = "mean"
    """How checkpoints are averaged: by the mean, or as in the published code (deviation 1)."""
    by: Annotated[str, StringConstraints(pattern=r"^(loss|val_[A-Za-z0-9_./-]+)$")] = "val_loss_wo_aug"
    """Value in `history.json` that ranks the checkpoints, such as `val_loss_w_aug` or `val_eer_wo_aug`."""

    @model_validator(mode="before")
    @classmethod
    def _of_number(cls, value: object) -> object:
        return {"best": value} if type(value) is int else value

    @property
    def name(self) -> str:
        """Name of the average in file names, such as ``best3`` or ``best3_legacy_val_loss_w_aug``."""
        name = f"best{self.best}"
        if self.mode == "legacy":
            name += "_legacy"
        if self.by != _DEFAULT_BY:
            name += f"_{self.by.replace('/', '-')}"
        return name

    @property
    def words(self) -> str:
        """Name of the average in tables."""
        text = "single" if self.best == 1 else f"{self.best} averaged"
        if self.mode == "legacy" and self.best > 1:
            text += " as published"
        if self.by != _DEFAULT_BY:
            text += f", best by {self.by}"
        return text


_DEFAULT_BY = Average.model_fields["by"].default


class EvaluationSet(_Section):
    """Trials on which every detector is scored."""

    corpus: str
    """Name of the corpus, as in `nes2net data check`, or `hub:OWNER/NAME`."""
    name: Name | None = None
    """Heading of the column of this set; the corpus if not given."""
    root: str = "."
    """Folder of the corpus; if not given, a corpus of the hub is downloaded."""
    split: str = "eval"
    """Part of the corpus that is scored."""
    protocols: str | None = None
    """Folder of the protocols; searched for in `root` if not given."""
    keys: str | None = None
    """Folder or file of the labels; `root` if not given."""
    phase: str | None = None
    """Phase of the challenge whose labels are used, such as `progress`; the split if not given."""
    protocol: Literal["4sec", "full"] | None = None
    """Whether the first 4 s or whole utterances are scored; if not given, as many samples as in training."""
    samples: Annotated[int, Field(ge=1, le=MAX_CROP_SAMPLES)] | None = None
    """Number of leading samples to score; not allowed with `protocol: full`, which scores whole
    utterances. If neither is given, as many samples as in training, or the corpus's usual number if
    training took about 4 s."""
    exclude: dict[str, list[str]] | None = None
    """Field of a trial → values of the trials that are excluded; the default is the corpus's own exclusions."""
    legacy_train_mode: bool = False
    """Score in train mode, as for the published figures on In-the-Wild (deviation 2)."""
    allow_partial: bool = False
    """Evaluate even if some recordings cannot be read."""

    @model_validator(mode="after")
    def _check_values(self) -> EvaluationSet:
        definition = corpora.get(self.corpus)
        check_known([self.split], definition.accepted_splits, f"{definition.title} has no split")
        if self.protocol == "full" and self.samples is not None:
            raise ValueError("samples requires protocol 4sec, not full: remove samples or protocol")
        return self

    @property
    def title(self) -> str:
        """Name of the set; its column, score files and reports have the same name."""
        return self.name or re.sub(r"[^A-Za-z0-9_.+-]", "-", self.corpus)

    @property
    def key_path(self) -> Path:
        """File or folder of the labels: `keys`, or else `root`."""
        return Path(self.root if self.keys is None else self.keys)

    @property
    def key_phase(self) -> str:
        """Phase whose labels are used: `phase`, or else `split`."""
        return self.split if self.phase is None else self.phase


class SlurmSettings(_Section):
    """Settings with which submitit submits jobs."""

    cluster: Literal["slurm", "local"] = "slurm"
    """`local` starts the same jobs on this machine, to try them."""
    partition: BatchValue | None = None
    """Partition; the cluster's default if not given."""
    minutes: PositiveInteger = 1440
    """Time limit of a job in minutes; a job that reaches the limit is queued again, and resumes."""
    gpus: Annotated[int, Field(ge=0)] = 1
    """Number of GPUs that are reserved for a job; a job uses at most one GPU."""
    cpus: PositiveInteger = 8
    """Number of processors that are reserved for a job."""
    memory_gb: PositiveInteger | None = None
    """Memory in GB that is reserved for a job; the cluster's default if not given."""
    parallel: PositiveInteger = 64
    """Largest number of jobs of an array that run at once."""
    more: dict[BatchOption, BatchValue | int] = Field(default_factory=dict)
    """Further options of `sbatch`, such as `account`, `nodelist` and `qos`."""


class Experiment(_Section):
    """The content of the YAML file: which runs are trained, and on which sets the runs are evaluated."""

    name: Name
    """Name of the experiment, and of its folder if `out` is not given."""
    title: TextLine = ""
    """Heading of the table; the name if not given."""
    recipe: str
    """Name of a packaged recipe; or path of a recipe, relative to the folder of the YAML file or to
    the working directory."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Key of the recipe → value that replaces the value in the recipe, such as `data.root: ${data}`."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1)]
    """Seeds; each point of the grid is trained once with each seed."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Key of the recipe → list of values, also `recipe` → list of recipes; every combination is trained."""
    averages: Annotated[list[Average], Field(min_length=1)] = [Average(best=1)]
    """Checkpoints of each run that are scored: each a number, or a mapping of `best`, `mode` and `by`."""
    leave_one_out: bool = False
    """Leave out each corpus of `data.corpora` in turn, and evaluate on the sets of the left-out corpus."""
    evaluate: Annotated[list[EvaluationSet], Field(min_length=1)]
    """The evaluation sets, which are the columns of the table."""
    metrics: Annotated[list[str], Field(min_length=1)] = ["eer"]
    """Metrics among `eer`, `min_tdcf` and `min_dcf`, or of other packages; each metric gets a table."""
    num_resamples: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Number of bootstrap draws for each interval."""
    places: dict[str, str] = Field(default_factory=dict)
    """Default values of the variables `${NAME}` in the file."""
    out: TextLine | None = None
    """Folder of the experiment's files; `results/NAME` in the working directory if not given."""
    slurm: SlurmSettings = SlurmSettings()
    """How jobs are submitted to Slurm."""

    @model_validator(mode="after")
    def _check_values(self) -> Experiment:
        check_known(self.metrics, metric_names(), "there is no metric")
        # For example, no two averages may have the same name.
        names_by_kind: dict[str, list[str]] = {
            "seed": list(map(str, self.seeds)),
            "average": [average.name for average in self.averages],
            "metric": list(self.metrics),
            "evaluation set": [tested.title for tested in self.evaluate],
            **{f"value of the grid's {key}": list(map(json_text, values)) for key, values in self.grid.items()},
        }
        for kind, names in names_by_kind.items():
            if named_twice := find_repeated(names):
                raise ValueError(f"the {kind} {named_twice[0]} is named twice: choose another name, or remove one")
        for key in (*self.overrides, *self.grid):
            if key in ("seed", "output", "logs") or (key == "data.corpora" and key in self.grid and self.leave_one_out):
                raise ValueError(
                    f"{key} cannot be a key of overrides or grid, because the experiment sets it: remove it"
                )
            if key in self.overrides and key in self.grid:
                raise ValueError(f"{key} stands in both overrides and grid: remove it from one of them")
        return self


def load_experiment(name: AnyPath, assignments: Iterable[str] = (), overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a YAML file, or a packaged experiment by its name.

    ``${NAME}`` in the file is replaced by its value in ``assignments``, or else in the environment
    variable ``NAME``, or else in the section ``places`` of the file. Without an assignment, ``places``
    must declare the name, so that the file shows which environment variables it uses. ``~`` at the
    beginning of a text stands for the home folder.

    Args:
        assignments: texts ``NAME=VALUE``.
        overrides: texts ``KEY=VALUE`` for the recipe, which take precedence over the file.

    Raises:
        InputError: if there is no such file, or if it has an unknown key, a wrong value, or a
            ``${NAME}`` without a value.
    """
    path = Path(name)
    packaged = packaged_experiments()
    if has_no_file(path):
        if str(name) not in packaged:
            near = did_you_mean(path.stem, packaged)
            raise InputError(f"experiment {name} is neither a YAML file nor the name of a packaged experiment{near}")
        path = PACKAGED / f"{name}.yaml"
    values = read_yaml_file(path, Experiment, f"experiment {path}")
    if not isinstance(values, dict):
        raise InputError(
            f"experiment {path} must be a mapping with keys such as name and seeds, not {short_repr(values)}"
        )
    declared = values.pop("places", {})
    defaults = declared if isinstance(declared, dict) else {}  # if `places` is no mapping, model_validate raises
    mentions = _VARIABLE.findall(str(list(values.values())))
    variables = set(mentions)
    assigned = _split_assignments(assignments, "`set`")
    check_known(assigned, variables, f"experiment {path} has no place")
    value_of = {name: os.environ.get(name, str(value)) for name, value in defaults.items()} | assigned
    if unknown := sorted(variables - value_of.keys()):
        raise InputError(
            f"experiment {path} has no value for ${{{unknown[0]}}}: add `set` {unknown[0]}=VALUE, or a default under "
            "places in the file"
        )
    # Refuse a file whose places would fill the memory: a short text may mention a long value many times.
    num_bytes = sum(len(value_of[variable]) for variable in mentions)
    Budget(f"experiment {path}", MAX_BYTES, 0).take("values of places", bytes=num_bytes)
    values = {**_fill_places(values, value_of), "places": declared}
    for section in ("overrides", "slurm"):
        if values.get(section) is None:  # an empty section
            values[section] = {}
    given_overrides = _split_assignments(overrides, "an override")
    if not isinstance(values["overrides"], dict):
        given_overrides = {}  # model_validate raises
    for key, text in given_overrides.items():
        set_value(values, ["overrides", key], text, Experiment, f"override {key}: the value")
    try:
        experiment = Experiment.model_validate(values)
    except ValidationError as error:
        raise InputError(f"experiment {path}: {first_problem(error)}") from error
    recipe_beside = path.parent / experiment.recipe
    if not has_no_file(recipe_beside):
        return experiment.model_copy(update={"recipe": str(recipe_beside)})
    return experiment


def packaged_experiments() -> list[str]:
    """Return the names of the packaged experiments."""
    return sorted(path.stem for path in PACKAGED.glob("*.yaml"))


def _split_assignments(texts: Iterable[str], subject: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{subject} must be of the form NAME=VALUE, not {short_repr(text)}")
        pairs[name] = value
    return pairs


def _fill_places(value: Any, value_of: Mapping[str, str]) -> Any:
    """Replace ``${NAME}`` by ``value_of[NAME]``, and a leading ``~`` by the home folder, in all texts of ``value``."""
    if isinstance(value, str):
        return os.path.expanduser(_VARIABLE.sub(lambda match: value_of[match[1]], value))
    if isinstance(value, list):
        return [_fill_places(item, value_of) for item in value]
    if isinstance(value, dict):
        return {key: _fill_places(item, value_of) for key, item in value.items()}
    return value
