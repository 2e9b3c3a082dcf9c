"""Make commands from functions: the signature declares the flags, and the docstring explains them."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from nes2net.lib.errors import InputError, check_known, check_setting
from nes2net.lib.parts.conditions import Condition, check_conditions
from nes2net.lib.parts.docstrings import docstring_of
from nes2net.lib.shell.command_line import OneLineParser, add_debug


class Flag(NamedTuple):
    """Description of a flag, in ``Annotated`` after the type of its parameter."""

    metavar: str | tuple[str, ...] | None = None
    """Word for the value in the help."""
    minimum: float | None = None
    maximum: float | None = None
    """Infinity allows it; None for any finite number."""
    choices: Callable[[], Sequence[str]] | None = None
    """Returns the allowed values."""
    nargs: str | int | None = None
    const: Any = None
    """Value of the flag without a value, for ``nargs="?"``."""
    pattern: str | None = None
    """With ``const``: regular expression of values in a word of their own; another word is an argument."""
    repeated: bool = False
    """Whether the flag is repeated for each value."""
    meaning: str | None = None
    """Help text if no docstring explains the parameter."""


File = Annotated[str, Flag("FILE")]
Folder = Annotated[str, Flag("DIR")]
Count = Annotated[int, Flag("N", minimum=1)]
FromZero = Annotated[int, Flag("N", minimum=0)]
Seconds = Annotated[float, Flag("S", minimum=0.001, maximum=1e9)]
Milliseconds = Annotated[float, Flag("MS", minimum=0.001, maximum=1e9)]
_MAX_NUMBER = sys.float_info.max  # largest number of a flag without a maximum
#: Parameter → flag, if not its name without ``num_`` at the beginning and ``_`` at the end, with
#: ``-`` for ``_``.
_FLAGS = {"bin_seconds": "bin", "config": "architecture", "resolution_ms": "resolution"}


@dataclass(frozen=True, kw_only=True)
class command_facts:
    """Decorator that states facts about a command's function for :func:`add_command`.

    - ``about``: text at the end of the help.
    - ``resumes``: whether the same command resumes an interrupted run.
    - ``names``: setting of the library → its flag, if it is no parameter.
    - ``subcommands``: functions of subcommands, which this one only groups.
    """

    about: str = ""
    resumes: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    subcommands: Sequence[Any] = ()

    def __call__(self, function: Any) -> Any:
        _facts_of[function] = self
        return function


_facts_of: dict[Any, command_facts] = {}  # function → its facts


def add_command(
    commands: argparse._SubParsersAction, function: Callable[..., int | None], name: str | None = None
) -> OneLineParser:
    """Add ``function`` as the command ``name``, by default the name of the function.

    Parameters before the star are positional arguments; keyword-only parameters, and the fields of
    a dataclass, are flags. Each section of the docstring except `Args:` is a group in the help.
    Fields that it does not explain are a group titled by the first line of their dataclass. An
    argument that no docstring and no type explains is not in the help.

    Returns:
        The parser; its parsed arguments contain ``function``, which takes them and runs the
            command.
    """
    page = docstring_of(function)
    facts = _facts_of.get(function, command_facts())
    name = (name or function.__name__.strip("_")).replace("_", "-")
    parser = commands.add_parser(
        name, help=page.title, description=f"{page.title}.", epilog=facts.about, example=page.example
    )
    if facts.subcommands:
        below = parser.add_subparsers(title="subcommands", dest="subcommand", required=True, metavar="SUBCOMMAND")
        for subcommand in facts.subcommands:
            add_command(below, subcommand)
        return parser
    parser.resumes = facts.resumes
    call = _add_arguments(parser, function, page.arguments)
    parser.names |= facts.names
    add_debug(parser)

    def run(args: argparse.Namespace) -> int | None:
        for key, (minimum, maximum) in parser.ranges.items():
            _check_range(key, getattr(args, key), minimum, maximum)
        check_conditions(parser.conditions, vars(args), {key: parser.get_default(key) for key in vars(args)})
        return call(args)

    parser.set_defaults(function=run)
    return parser


def _add_arguments(
    parser: OneLineParser,
    owner: Any,
    meanings: Mapping[str, tuple[str, str]],
    inherited: Sequence[Condition] = (),
) -> Callable[[argparse.Namespace], Any]:
    """Add the parameters of a function or dataclass; return a function from parsed arguments to its result.

    Args:
        meanings: name of a parameter → (title of its group, its meaning).
    """
    hints = get_type_hints(owner, include_extras=True)
    values: dict[str, Callable[[argparse.Namespace], Any]] = {}
    for key, parameter in inspect.signature(owner).parameters.items():
        if key not in hints:
            raise InputError(
                f"command '{parser.prog.split()[-1]}' does not state the type of `{key}`: annotate all its parameters"
            )
        hint = hints[key]
        facts = getattr(hint, "__metadata__", ())
        conditions = [*inherited, *(fact for fact in facts if isinstance(fact, Condition))]
        # For a dataclass, add its fields as flags. The docstrings of the dataclass and of its base
        # classes explain the flags.
        kind: type[Any] = get_args(hint)[0] if facts else hint
        if is_dataclass(kind):
            pages = [docstring_of(base) for base in reversed(kind.__mro__) if is_dataclass(base)]
            title = pages[-1].title[0].lower() + pages[-1].title[1:]
            arguments = {name: (title, text) for page in pages for name, (_, text) in page.arguments.items()}
            values[key] = _add_arguments(parser, kind, arguments | dict(meanings), conditions)
            continue
        # For any other parameter, add a flag or a positional argument to the group of its docstring
        # section.
        values[key] = attrgetter(key)
        parser.conditions += [(key, condition) for condition in conditions]
        options = _argparse_options(hint)
        if "minimum" in options:
            parser.ranges[key] = options.pop("minimum"), options.pop("maximum")
        flag = _flag_of(key)
        if "pattern" in options:
            parser.patterns[f"--{flag}"] = options.pop("pattern")
        has_default = parameter.default is not parameter.empty
        if has_default:
            if isinstance(parameter.default, tuple):
                options["default"] = list(parameter.default)
            else:
                options["default"] = parameter.default
        title, text = meanings.get(key, ("args", options.pop("meaning", "")))
        options["help"] = text.rstrip(".").replace("%", "%%") or argparse.SUPPRESS
        groups = {group.title: group for group in parser._action_groups}
        group: argparse._ActionsContainer = parser
        if title != "args":
            group = groups.get(title) or parser.add_argument_group(title)
        if parameter.kind is parameter.KEYWORD_ONLY or is_dataclass(owner):
            group.add_argument(f"--{flag.replace('_', '-')}", dest=key, required=not has_default, **options)
            parser.names[flag] = f"--{flag.replace('_', '-')}"
        else:
            if has_default:
                options["nargs"] = "*" if "nargs" in options else "?"
            group.add_argument(key, **options)
    return lambda args: owner(**{key: value(args) for key, value in values.items()})


def _argparse_options(hint: Any) -> dict[str, Any]:
    """Make arguments of ``add_argument``, and fields of :class:`Flag` such as ``minimum``, from a parameter's type.

    >>> _argparse_options(Sequence[Count] | None)
    {'type': <class 'int'>, 'minimum': 1, 'maximum': 1.7976931348623157e+308, 'metavar': 'N', 'nargs': '+'}
    >>> _argparse_options(Literal["head", "random"]), _argparse_options(bool)
    ({'choices': ['head', 'random']}, {'action': 'store_true'})
    """
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin is Annotated:
        options = _argparse_options(arguments[0])
        for fact in arguments[1:]:
            if isinstance(fact, Flag):
                stated = fact._asdict().items()
                options |= {name: value for name, value in stated if value is not None and value is not False}
        if options.pop("repeated", False):
            options |= {"action": "append", "nargs": None}
        if callable(options.get("choices")):
            return options | {"choices": options["choices"]()}
        return options
    if origin in (Union, UnionType):
        return {
            key: value
            for option in arguments
            if option is not NoneType
            for key, value in _argparse_options(option).items()
        }
    if origin is Literal:
        return {"choices": list(arguments)}
    if origin is not None:  # a sequence; for a sequence of sequences, the flag may be repeated
        options = _argparse_options(arguments[0])
        repetition = {"action": "append"} if "nargs" in options else {"nargs": "+"}
        return options | repetition
    if hint is bool:
        return {"action": "store_true"}
    if hint in (int, float):
        return {"type": hint, "minimum": -_MAX_NUMBER, "maximum": _MAX_NUMBER}
    return {} if hint is str else {"type": hint}


class Ranged:
    """A dataclass of flags that has only values in the ranges of its :class:`Flag`, and among its choices."""

    def __post_init__(self) -> None:
        for key, hint in get_type_hints(type(self), include_extras=True).items():
            options = _argparse_options(hint)
            value = getattr(self, key)
            if "minimum" in options:
                _check_range(key, value, options["minimum"], options["maximum"])
            if "choices" in options and value is not None:
                check_known([value], options["choices"], f"there is no `{key}`")


def _check_range(key: str, value: Any, minimum: float, maximum: float) -> None:
    """Raise :class:`InputError` if a number, or one of a list, is out of range; None is allowed."""
    limits = f"from {minimum:g} to {maximum:g}"
    if maximum >= _MAX_NUMBER:
        limits = f"at least {minimum:g}"
    if minimum == -_MAX_NUMBER:
        limits = "a number"
    for number in value if isinstance(value, list) else [value]:
        if number is not None and number != maximum:  # the maximum may be infinity, which check_setting refuses
            check_setting(key, number, minimum <= number <= maximum, limits)


def flags_of(settings: Any) -> list[str]:
    """Write the fields of a dataclass of flags that differ from their defaults as words of a command."""
    words = []
    for key, value in non_defaults(settings).items():
        words.append(f"--{_flag_of(key).replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return words


def _flag_of(key: str) -> str:
    return _FLAGS.get(key, key.removeprefix("num_").rstrip("_"))


def non_defaults(settings: Any) -> dict[str, Any]:
    """Collect the fields of the dataclass ``settings`` that differ from their defaults."""
    changed = {}
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        default = setting.default
        if isinstance(default, tuple):  # argparse makes lists
            default = list(default)
            value = list(value)
        if value != default:
            changed[setting.name] = value
    return changed
