"""Commands from functions: a signature says which flags there are, and its docstring what they mean."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from nes2net.cli.entry import CorpusNames, OneLineParser, add_debug
from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.corpora.trial import Part
    from nes2net.decisions.decision import Decider
    from nes2net.detector import Detector


class Flag(NamedTuple):
    """What is said beside the type of a parameter, in ``Annotated``."""

    metavar: str | tuple[str, ...] | None = None
    """What stands for the value in the help."""
    least: int | None = None
    """The least number that is allowed."""
    choices: Callable[[], Sequence[str]] | None = None
    nargs: str | int | None = None
    const: Any = None
    """The value of the flag alone, with ``nargs="?"``."""
    repeated: bool = False
    """Whether the flag is given again for each further value."""
    meaning: str | None = None
    """What the help says if no docstring explains the parameter."""


File = Annotated[str, Flag("FILE")]
Folder = Annotated[str, Flag("DIR")]
Count = Annotated[int, Flag("N", least=1)]
FromZero = Annotated[int, Flag("N", least=0)]
CorpusName = Annotated[str, Flag(choices=CorpusNames, meaning="a corpus (nes2net info corpora), or hub:OWNER/NAME")]
ModelName = Annotated[str, Flag("MODEL", meaning="file, folder, or name (nes2net models), also OWNER/NAME of the hub")]
OnError = Literal["skip", "raise"]
Precision = Literal["auto", "fastest", "float32", "tf32", "bfloat16", "float16", "int8"]

#: Flags that are named differently from their parameters. Flags of numbers, such as ``num_samples``, leave out
#: ``num_``.
_FLAGS = {"bin_seconds": "bin", "config": "architecture", "resolution_ms": "resolution"}
_ARGUMENT = re.compile(r"^(\w+): (.*(?:\n +.*)*)", re.MULTILINE)


class Page(NamedTuple):
    """What a docstring says for the help."""

    title: str
    """Its first line, without the full stop."""
    example: str
    """The block below `Example:`."""
    prose: str
    """The paragraphs that are not in a section."""
    arguments: dict[str, tuple[str, str]]
    """Name of an argument → title of its section, and what the argument means."""


def page_of(docstring: str | None) -> Page:
    """Read a docstring. A section is a line that ends with a colon, with indented lines below it."""
    title, *blocks = inspect.cleandoc(docstring or "").split("\n\n")
    example, prose, arguments = "", [], {}
    for block in blocks:
        head, _, rest = block.partition("\n")
        if not (head.endswith(":") and rest.startswith("    ")):
            prose.append(" ".join(block.split()))
        elif head == "Example:":
            example = textwrap.dedent(rest)
        else:
            for name, text in _ARGUMENT.findall(textwrap.dedent(rest)):
                arguments[name] = head[0].lower() + head[1:-1], " ".join(text.split()).rstrip(".")
    return Page(title.rstrip("."), example, " ".join(prose), arguments)


def called(
    *, resumes: bool = True, names: Mapping[str, str] | None = None, ways: Sequence[Callable[..., int | None]] = ()
) -> Callable[[Any], Any]:
    """Say of a command what its signature and docstring do not.

    Args:
        resumes: whether the same command resumes an interrupted run.
        names: further settings of the library → their flags.
        ways: commands below this one, which is then only their common name and page of help.
    """

    def mark(function: Any) -> Any:
        function.resumes, function.names, function.ways = resumes, names or {}, ways
        return function

    return mark


def add_command(commands: argparse._SubParsersAction, function: Callable[..., int | None]) -> OneLineParser:
    """Add ``function`` as the command of its name.

    Parameters before the star are positional arguments, and the others are flags. Arguments of the docstring's section
    `Args:` have no group in the help; every other section is a group. The fields of a dataclass parameter are flags
    too. Their group has the title of the dataclass's docstring, unless the function's docstring explains them. The help
    leaves out what neither a docstring nor the type explains. A function with ways (:func:`called`) is a command with
    commands below it.
    """
    page = page_of(function.__doc__)
    name = function.__name__.strip("_").replace("_", "-")
    parser: OneLineParser = commands.add_parser(
        name, help=page.title, description=f"{page.title}.", epilog=page.prose, example=page.example
    )
    if ways := getattr(function, "ways", ()):
        below = parser.add_subparsers(title="ways", dest="way", required=True, metavar="WAY")
        for way in ways:
            add_command(below, way)
        return parser
    parser.resumes = getattr(function, "resumes", True)
    least: dict[str, int] = {}
    call = _add_arguments(parser, function, page.arguments, least)
    parser.names |= getattr(function, "names", {})
    add_debug(parser)

    def run(args: argparse.Namespace) -> int | None:
        for key, smallest in least.items():
            found = getattr(args, key)
            for value in found if isinstance(found, list) else [found]:
                if value is not None and value < smallest:
                    raise InputError(f"`{key}` is at least {smallest}, not {value}")
        return call(args)

    parser.set_defaults(function=run)
    return parser


def _add_arguments(
    parser: OneLineParser, owner: Any, meanings: Mapping[str, tuple[str, str]], least: dict[str, int]
) -> Callable[[argparse.Namespace], Any]:
    """Add what ``owner`` takes; return a call of it with the values of a parsed line."""
    hints = get_type_hints(owner, include_extras=True)
    values: dict[str, Callable[[argparse.Namespace], Any]] = {}
    for key, parameter in inspect.signature(owner).parameters.items():
        if is_dataclass(hints[key]):
            parts = [page_of(base.__doc__) for base in reversed(hints[key].__mro__) if is_dataclass(base)]
            title = parts[-1].title[0].lower() + parts[-1].title[1:]
            inner = {name: (title, text) for part in parts for name, (_, text) in part.arguments.items()}
            values[key] = _add_arguments(parser, hints[key], inner | dict(meanings), least)
            continue
        values[key] = attrgetter(key)
        options = _options(hints[key])
        if "least" in options:
            least[key] = options.pop("least")
        flag = _FLAGS.get(key, key.removeprefix("num_").rstrip("_"))
        has_default = parameter.default is not parameter.empty
        if has_default:
            options["default"] = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        meaning = options.pop("meaning", "")
        title, text = meanings.get(key, ("args", meaning))
        options["help"] = text.replace("%", "%%") or argparse.SUPPRESS
        groups = {group.title: group for group in parser._action_groups}
        group = parser if title == "args" else groups.get(title) or parser.add_argument_group(title)
        if parameter.kind is parameter.KEYWORD_ONLY or is_dataclass(owner):
            group.add_argument(f"--{flag.replace('_', '-')}", dest=key, required=not has_default, **options)
            parser.names[flag] = f"--{flag.replace('_', '-')}"
        else:
            if has_default:
                options["nargs"] = "*" if "nargs" in options else "?"
            group.add_argument(key, **options)
    return lambda args: owner(**{key: value(args) for key, value in values.items()})


def _options(hint: Any) -> dict[str, Any]:
    """What argparse is told of a type.

    >>> _options(Sequence[Count] | None)
    {'type': <class 'int'>, 'metavar': 'N', 'least': 1, 'nargs': '+'}
    >>> _options(Literal["head", "random"]), _options(bool)
    ({'choices': ['head', 'random']}, {'action': 'store_true'})
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        said = {name: value for name, value in inner[1]._asdict().items() if value is not None and value is not False}
        options = _options(inner[0]) | said
        if options.pop("repeated", False):
            options |= {"action": "append", "nargs": None}
        return options | {"choices": options["choices"]()} if callable(options.get("choices")) else options
    if origin in (Union, UnionType):
        return {key: value for part in inner if part is not NoneType for key, value in _options(part).items()}
    if origin is Literal:
        return {"choices": list(inner)}
    if origin is not None:  # a sequence, or one of sequences
        options = _options(inner[0])
        return options | ({"action": "append"} if "nargs" in options else {"nargs": "+"})
    return {"action": "store_true"} if hint is bool else {} if hint is str else {"type": hint}


def given(settings: Any) -> list[str]:
    """The fields of ``settings``, a dataclass of flags, that are not at their defaults, as messages name them."""
    return [f"`{field.name}`" for field in fields(settings) if getattr(settings, field.name) != field.default]


def located(corpus: str, root: str | None, split: str = "eval", protocols: str | None = None) -> Part:
    """A part of a corpus in its folder; a data set of the hub is downloaded if no folder is given."""
    from nes2net.corpora.trial import Part
    from nes2net.registry import corpora

    definition = corpora.get(corpus)
    if root is None and definition.home is None:
        raise InputError(f"where is {corpus}? name its folder after it")
    place = definition.place(root)
    return Part(corpus, place, split, protocols, None if root is not None and place == Path(root) else place.name)


@dataclass(frozen=True)
class Architecture:
    """The detector.

    Args:
        config: published model or recipe (,backend.OPTION=VALUE)
        base: the weights that an adapted checkpoint leaves out
    """

    config: Annotated[str | None, Flag("NAME|FILE")] = None
    base: File | None = None


@dataclass(frozen=True)
class Loading(Architecture):
    """The detector.

    Args:
        device: auto, cpu, cuda or cuda:N
        dtype: precision; auto: the checkpoint's
    """

    device: str = "auto"
    dtype: Precision = "auto"

    def load(self, model: str) -> Detector:
        from nes2net.detector import Detector
        from nes2net.machine.devices import own_device
        from nes2net.machine.terminal import print_note
        from nes2net.quantisation import emulation_note

        detector = Detector.from_pretrained(model, own_device(self.device), self.dtype, self.config, self.base)
        print_note(emulation_note(detector.precision, detector.device))
        return detector


@dataclass(frozen=True)
class Length:
    """How much of each recording.

    Args:
        num_samples: N samples, 4 s or all; else as it trained
    """

    num_samples: Annotated[str | None, Flag("N|4sec|full")] = None

    def __post_init__(self) -> None:
        self.asked()  # before a large model is read

    def asked(self) -> int | Literal["auto", "4sec"] | None:
        """The number of samples, None for all; ``"auto"`` if nothing is asked for."""
        if self.num_samples is None:
            return "auto"
        if self.num_samples == "4sec":
            return "4sec"
        if self.num_samples == "full":
            return None
        try:
            number = int(self.num_samples)
        except ValueError:
            number = 0
        if number < 1:
            raise InputError(f"`num_samples` is at least 1, 4sec or full, not {self.num_samples[:100]}")
        return number

    def of_files(self) -> int | Literal["auto"] | None:
        """The same for recordings that are of no corpus, whose first 4 s are 64,600 samples."""
        from nes2net.audio.waveform import ASVSPOOF_SAMPLES

        return ASVSPOOF_SAMPLES if (asked := self.asked()) == "4sec" else asked

    def chosen(self, of_corpus: int, record: Mapping[str, Any]) -> int | None:
        """How many samples to score: what the flag says, else what suits the detector, which a note says."""
        from nes2net.machine.terminal import print_note
        from nes2net.scoring.heard import samples_to_score

        asked = self.asked()
        heard = samples_to_score(record, *(("auto", of_corpus, asked) if asked == "4sec" else (asked, of_corpus)))
        print_note(heard.words and f"{heard.words}; --samples chooses another part")
        return heard.num_samples


@dataclass(frozen=True)
class Batches:
    """Computing.

    Args:
        batch_size: utterances of 4 s per batch (8, or 64 on a GPU)
        num_workers: processes that read audio
    """

    batch_size: Count | None = None
    num_workers: FromZero | None = None


@dataclass(frozen=True)
class Deciding:
    """What the score means.

    Args:
        calibration: written by nes2net calibrate --save FILE
        prior: prior of bona fide; 0.5 if not given
        operating_point: eer, cost:CMISS,CFA,PRIOR, fa:RATE% or miss:RATE%; if not given, the Bayes threshold
        abstain: 'cannot tell' if so few are as unusual (0.01)
        unbounded: do not bound ratios by the number of trials
    """

    calibration: File | None = None
    prior: Annotated[float | None, Flag("P")] = None
    operating_point: Annotated[str | None, Flag("POINT")] = None
    abstain: Annotated[float | None, Flag("SHARE")] = None
    unbounded: bool = False

    def decider(self) -> Decider | None:
        """The decider that the flags describe; None without a calibration.

        Raises:
            InputError: if the file or a number cannot be used, or a flag needs ``calibration``.
        """
        from nes2net.decisions.calibration import load
        from nes2net.decisions.decision import Decider, OperatingPoint

        settings: dict[str, Any] = {
            key: value
            for key, value in vars(self).items()
            if key != "calibration" and value is not None and value is not False
        }
        if self.calibration is None and settings:
            flag = f"--{next(iter(settings)).replace('_', '-')}"
            raise InputError(f"{flag} goes with a calibration: name one with --calibration, or leave it out")
        if self.calibration is None:
            return None
        if "operating_point" in settings:
            settings["operating_point"] = OperatingPoint.parse(settings["operating_point"])
        return Decider(load(self.calibration), **settings)
