"""`main.py`: train a detector, average checkpoints and score a corpus under the published flags."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from os.path import exists
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from nes2net.actions.flags import Precision, report_finished
from nes2net.cli.published.lines import (
    TrainingLines,
    print_average,
    print_device,
    print_evaluation_start,
    print_parameters,
    say,
)
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note, say_aside
from nes2net.lib.shell.command_line import OneLineParser, add_debug, command_of, run

if TYPE_CHECKING:
    from nes2net.training.averaging import RunAverage
    from nes2net.training.recipes.recipe import Recipe

# Value of --track → name of the corpus.
TRACKS = {"LA": "asvspoof2021_la", "DF": "asvspoof2021_df", "in_the_wild": "in_the_wild"}
# Value of --ssl_config → front-end, whose options apply only without a wav2vec 2.0 file; as published, those in a
# file take precedence.
SSL_CONFIGS = {"xlsr_300m": "wav2vec2", "small": "wav2vec2_small"}

# Key of the recipe → name of the flag that sets the key, without dashes.
_RECIPE_KEYS = {
    "name": "model_name",
    "seed": "seed",
    "ssl_checkpoint": "ssl_checkpoint",
    "data.root": "database_path",
    "data.protocols": "protocols_path",
    "data.num_workers": "num_workers",
    "augment.algo": "algo",
    "augment.rng": "augment_rng",
    "train.epochs": "num_epochs",
    "train.batch_size": "batch_size",
    "train.lr": "lr",
    "train.weight_decay": "weight_decay",
    "train.init_from": "model_path",
    "train.compile": "compile",
    "validation.select_on": "select_on",
    "date": "date",
    "comment": "comment",
}

_EXAMPLE = """{} --model_name wav2vec2_Nes2Net_X --algo 4 --lr 2.5e-7 \\
  --batch_size 12 --seed 12345 --database_path DB/"""

_RAWBOOST = {  # flag → help; RawBoostParameters has the types and defaults of the flags
    "LnL_ratio": "probability of convolutive noise in algorithms 10 and 11",
    "ISD_ratio": "probability of impulsive noise in algorithms 10 and 11",
    "SSI_ratio": "probability of stationary noise in algorithm 11",
    "nBands": "notches in each filter",
    "minF": "lowest centre of a notch in Hz",
    "maxF": "highest centre of a notch in Hz",
    "minBW": "narrowest notch in Hz",
    "maxBW": "widest notch in Hz",
    "minCoeff": "fewest coefficients of a notch",
    "maxCoeff": "most coefficients of a notch",
    "minG": "least gain of the linear part in dB",
    "maxG": "greatest gain of the linear part in dB",
    "minBiasLinNonLin": "least gain between linear and non-linear parts in dB",
    "maxBiasLinNonLin": "greatest gain between linear and non-linear parts in dB",
    "N_f": "highest power of the waveform",
    "P": "largest share of impulsive samples in percent",
    "g_sd": "gain of impulsive noise",
    "SNRmin": "least SNR of stationary noise in dB",
    "SNRmax": "greatest SNR of stationary noise in dB",
}

Flags: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Flag → arguments of ``add_argument``."""

#: Flags that choose the architecture.
MODEL_FLAGS: Flags = {
    "--model_name": {"required": True, "choices": ["wav2vec2_AASIST", "wav2vec2_Nes2Net_X"], "help": "the detector"},
    "--dilation": {"type": int, "default": 2, "help": "dilation of the inner convolutions of Nes2Net"},
    "--n_output_logits": {"type": int, "default": 2, "help": "logits of the last layer"},
    "--pool_func": {"default": "mean", "choices": ["mean", "ASTP"], "help": "pooling over time of Nes2Net"},
    "--Nes_ratio": {"type": int, "nargs": "+", "default": [8, 8], "help": "outer split and inner scale of Nes2Net"},
    "--SE_ratio": {"type": int, "nargs": "+", "default": [1], "help": "reduction in the squeeze-excitation of Nes2Net"},
}
_PUBLISHED_FLAGS: Flags = {
    "--in_the_wild_path": {"help": "folder of In-the-Wild: release_in_the_wild or its parent"},
    "--database_path": {"help": "folder that holds ASVspoof2019_LA_train/, ASVspoof2021_LA_eval/, …"},
    "--protocols_path": {"default": "database/", "help": "folder of the protocols; --database_path is searched too"},
    "--date": {"default": "unknown", "help": "first part of the run folder's name"},
    **MODEL_FLAGS,
    "--test_length": {
        "default": "4s",
        "choices": ["full", "4s"],
        "help": "accepted for compatibility; --test_protocol decides",
    },
    "--test_protocol": {
        "default": "4sec",
        "choices": ["4sec", "full"],
        "help": "score the first 4 s, or whole utterances",
    },
    "--BTN_ratio": {"type": float, "default": 0.8, "help": "accepted for compatibility; changes nothing"},
    "--num_average_model": {
        "type": int,
        "default": 1,
        "help": "number of checkpoints to average, to score with or to train on",
    },
    "--model_ID_to_average": {"type": int, "nargs": "+", "default": [], "help": "epochs of the checkpoints to average"},
    "--model_folder_path": {"help": "run folder with the epoch_N.pth to average"},
    "--batch_size": {"type": int, "default": 12, "help": "utterances per batch"},
    "--num_epochs": {"type": int, "default": 100, "help": "epochs to train"},
    "--lr": {"type": float, "default": 1e-6, "help": "learning rate; the published recipe has 2.5e-7"},
    "--weight_decay": {"type": float, "default": 1e-4, "help": "L2 decay of Adam"},
    "--loss": {"default": "weighted_CCE", "help": "accepted for compatibility; weighted cross-entropy always"},
    "--seed": {"type": int, "default": 1234, "help": "random seed; the published recipe has 12345"},
    "--model_path": {"help": "detector checkpoint to score with, or to start training from"},
    "--comment": {"help": "last part of the run folder's name"},
    "--track": {
        "default": "LA",
        "choices": list(TRACKS),
        "help": "evaluation set to score; training always uses 2019 LA",
    },
    "--eval_output": {"help": "score file to write"},
    "--eval": {"action": "store_true", "help": "score instead of training"},
    "--is_eval": {"action": "store_true", "help": "accepted for compatibility; changes nothing"},
    "--eval_part": {"type": int, "default": 0, "help": "accepted for compatibility; changes nothing"},
    "--cudnn-deterministic-toggle": {"action": "store_false", "help": "allow algorithms that do not repeat themselves"},
    "--cudnn-benchmark-toggle": {"action": "store_true", "help": "let cuDNN time its algorithms and take the fastest"},
    "--algo": {"type": int, "default": 8, "help": "RawBoost algorithm 0 (none) to 11; the published recipe has 4"},
}
# Flags of this toolkit.
_OWN_FLAGS: Flags = {
    "--frontend": {
        "default": "wav2vec2",
        "choices": ["wav2vec2", "lps"],
        "help": "wav2vec 2.0, or a log-power spectrum",
    },
    "--ssl_config": {
        "default": "xlsr_300m",
        "choices": list(SSL_CONFIGS),
        "help": "size of wav2vec 2.0; small is trained from scratch",
    },
    "--ssl_checkpoint": {"help": "pre-training file of the front-end (xlsr2_300m.pt for --ssl_config xlsr_300m)"},
    "--average_mode": {
        "default": "mean",
        "choices": ["mean", "legacy"],
        "help": "the mean, or what the published code computes",
    },
    "--legacy_train_mode": {"action": "store_true", "help": "score In-the-Wild as published: never left train mode"},
    "--test_samples": {"type": int, "help": "samples of '4sec'; 64600 if not given, 64000 on In-the-Wild"},
    "--num_workers": {"type": int, "default": 4, "help": "processes that read audio, for each training process"},
    "--device": {"default": "auto", "help": "auto, cpu, cuda or cuda:N"},
    "--augment_rng": {
        "default": "utterance",
        "choices": ["utterance", "legacy"],
        "help": "random draws of RawBoost: one stream per utterance, or the published order from one global stream",
    },
    "--select_on": {
        "default": "loss",
        "type": lambda text: {"mindcf": "min_dcf"}.get(text.lower(), text.lower()),  # accepts minDCF, too
        "choices": ["loss", "eer", "min_dcf"],
        "help": "measure on the development set that chooses the epochs to keep; the published code takes the loss",
    },
    "--overwrite": {"action": "store_true", "help": "replace a score file that another run made"},
    "--dtype": {
        "default": "auto",
        "choices": get_args(Precision),
        "help": "precision of weights and computation; auto takes the checkpoint's, float32 in the published ones; "
        "fastest chooses by detector and processor; tf32 is for GPUs, int8 for the CPU",
    },
    "--compile": {
        "action": "store_true",
        "help": "compile the detector first (torch.compile), which takes a while and pays for a large corpus scored in "
        "'4sec'",
    },
    "--set": {
        "nargs": "+",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "override any key of the recipe, e.g. train.schedule=cosine",
    },
}


def add_flags(parser: argparse._ActionsContainer, flags: Flags) -> None:
    for flag, options in flags.items():
        parser.add_argument(flag, **options)


def build_parser(prog: str = "main.py") -> OneLineParser:
    """Build the parser: the published flags with their defaults, and a group with the flags of this toolkit.

    ``prog`` is the name in the help text.
    """
    parser = OneLineParser(
        prog=prog,
        description="Train a detector on ASVspoof 2019 LA, or score 2021 LA, 2021 DF or In-the-Wild with --eval. "
        "On several GPUs: torchrun --nproc-per-node N main.py …",
        example=_EXAMPLE.format(command_of(prog)),
    )
    add_flags(parser, _PUBLISHED_FLAGS)

    from nes2net.data.augment import RawBoostParameters  # start-up: pydantic

    defaults = vars(RawBoostParameters())
    rawboost = parser.add_argument_group("parameters of RawBoost")
    for name, text in _RAWBOOST.items():
        rawboost.add_argument(f"--{name}", type=type(defaults[name]), default=defaults[name], help=text)
    toolkit_flags = parser.add_argument_group("flags of this toolkit")
    add_flags(toolkit_flags, _OWN_FLAGS)
    add_debug(toolkit_flags)
    parser.names |= _names_of_settings()
    return parser


def _names_of_settings() -> dict[str, str]:
    """Map settings of the library to flags, or to ``--set KEY``, for messages."""
    from nes2net.training.recipes.data import DataConfig
    from nes2net.training.recipes.recipe import Recipe

    keys = []
    for section, values in {**Recipe().to_dict(), "data": dict(DataConfig.model_fields)}.items():
        if isinstance(values, dict):
            keys += [f"{section}.{key}" for key in values]
        else:
            keys.append(section)
    # Later entries replace earlier ones. The last five are arguments of functions of the library.
    return {
        **{key: f"--set {key}" for key in keys},
        **{key: f"--{flag}" for key, flag in _RECIPE_KEYS.items()},
        "model.frontend=wav2vec2_small": "--ssl_config small",
        "train.deterministic=false": "--cudnn-deterministic-toggle",
        "root": "--database_path",
        "protocols": "--protocols_path",
        "num_samples": "--test_samples",
        "mode": "--average_mode",
        "folder": "--model_folder_path",
    }


def model_from_flags(args: argparse.Namespace) -> Facts:
    # The published detectors read only the front-end's last hidden state.
    frontend = {"name": "lps"} if args.frontend == "lps" else {"name": SSL_CONFIGS[args.ssl_config]}
    return {"frontend": frontend, "aggregation": {"name": "last"}, "backend": backend_from_flags(args)}


def _model_to_train(args: argparse.Namespace) -> Facts:
    """Choose the architecture: of the checkpoint ``--model_path``, without ``adapt``, which
    ``train.adapt`` states; otherwise of the flags.
    """
    from nes2net.lib.parts.options import check_model
    from nes2net.models.loading import read_checkpoint

    model = model_from_flags(args)
    if args.model_path and exists(args.model_path):
        model = check_model(read_checkpoint(Path(args.model_path)).config or model)
        model.get("frontend", {}).pop("adapt", None)
    return model


def backend_from_flags(args: argparse.Namespace) -> Facts:
    if args.model_name == "wav2vec2_AASIST":
        return {"name": "aasist", "num_logits": args.n_output_logits}
    if len(args.Nes_ratio) != 2:
        raise InputError(f"--Nes_ratio requires two numbers (outer split, inner scale), not {args.Nes_ratio}")
    return {
        "name": "nes2net_x",
        "nes_ratio": args.Nes_ratio,
        "dilation": args.dilation,
        "pool": args.pool_func.lower(),
        "se_ratio": args.SE_ratio[0],
        "num_logits": args.n_output_logits,
    }


def recipe_from_flags(args: argparse.Namespace) -> Recipe:
    """Build the recipe of a training; ``--set`` overrides all other flags."""
    from nes2net.data.augment import RawBoostParameters  # start-up: pydantic
    from nes2net.training.recipes.reading import apply_overrides, name_after_model
    from nes2net.training.recipes.recipe import recipe_from_dict

    # The recipe states only parameters of RawBoost that differ from the defaults.
    published = vars(RawBoostParameters())
    changed = {name: getattr(args, name) for name in _RAWBOOST if getattr(args, name) != published[name]}
    # Unless training starts from a trained detector, XLS-R starts by default from its published file of pre-trained
    # weights.
    ssl_checkpoint = args.ssl_checkpoint
    if (ssl_checkpoint, args.frontend, args.ssl_config) == (None, "wav2vec2", "xlsr_300m") and not args.model_path:
        ssl_checkpoint = "xlsr2_300m.pt"
    values: dict[str, Any] = {"data": {}, "augment": {}, "train": {}, "validation": {}}
    for key, flag in _RECIPE_KEYS.items():
        section, _, name = key.rpartition(".")
        owner = values[section] if section else values
        owner[name] = getattr(args, flag)
    values |= {"model": _model_to_train(args), "ssl_checkpoint": ssl_checkpoint}
    values["train"]["deterministic"] = args.cudnn_deterministic_toggle
    # Without RawBoost, the flags of RawBoost have no effect, as in the published program.
    values["augment"]["parameters"] = changed if args.algo else {}
    stated_keys = {"comment", *(override.partition("=")[0] for override in args.set)}
    published_model = {"frontend": SSL_CONFIGS["xlsr_300m"], "backend": backend_from_flags(args)["name"]}
    named_recipe = {"name": args.model_name, "model": published_model}
    return recipe_from_dict(name_after_model(named_recipe, apply_overrides(values, args.set), stated_keys))


def _score(args: argparse.Namespace) -> int:
    from nes2net.actions.scoring import score_corpus
    from nes2net.data.corpora.part import Part
    from nes2net.detector import Detector
    from nes2net.lib.computing.devices import own_device
    from nes2net.scoring.corpus import ScoringSettings

    _require(args, "eval_output", "where should the scores go? name a file")
    in_the_wild = args.track == "in_the_wild"
    if in_the_wild:
        _require(args, "in_the_wild_path", "where is In-the-Wild? name its folder")
        # Messages about `root` name this flag.
        args.parser.names["root"] = "--in_the_wild_path"
        corpus_part = Part(TRACKS[args.track], args.in_the_wild_path)
    else:
        _require(args, "database_path", "where is the corpus? name its folder")
        corpus_part = Part(TRACKS[args.track], args.database_path, protocols=args.protocols_path)
    _ = corpus_part.trials  # read now, so that an error in the list is found first
    # The lines are printed in the published order: the size of the detector before the average.
    average = _average(args)
    # _average() may have set args.model_path.
    _require(args, "model_path", "which detector? average several with --num_average_model, or name its checkpoint")
    detector = Detector.from_pretrained(args.model_path, own_device(args.device), args.dtype, model_from_flags(args))
    print_parameters(detector)
    if average is not None:
        print_average(average)
    say(f"Model loaded : {args.model_path}")
    print_evaluation_start(None if in_the_wild else len(corpus_part.trials))
    start = time.monotonic()
    num_samples = corpus_part.definition.test_samples if args.test_samples is None else args.test_samples
    result, _ = score_corpus(
        detector,
        corpus_part,
        args.eval_output,
        checkpoint=args.model_path,
        num_samples=None if args.test_protocol == "full" else num_samples,
        settings=ScoringSettings(
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            overwrite=args.overwrite,
            legacy_train_mode=args.legacy_train_mode,
            compile=args.compile,
        ),
    )
    if not in_the_wild:
        say(f"Scores saved to {args.eval_output}")
    say(f"time cost: {(time.monotonic() - start) / 3600} hrs")
    return report_finished(result, say_aside)


def _require(args: argparse.Namespace, flag: str, question: str) -> None:
    if not getattr(args, flag):
        raise InputError(f"{question} with --{flag}")


def _average(args: argparse.Namespace) -> RunAverage | None:
    """Set ``args.model_path`` to the average; None if the flags ask for no average.

    Raises InputError if there is no run folder, or a wrong number of epochs.
    """
    from nes2net.training.averaging import average

    if args.num_average_model <= 1:
        return None
    ids = args.model_ID_to_average
    if len(ids) != args.num_average_model:
        raise InputError(
            f"--num_average_model {args.num_average_model} requires as many --model_ID_to_average, but {len(ids)} were given: "
            "name the epochs, or change the number"
        )
    _require(args, "model_folder_path", "which run? name the folder that holds its epoch_N.pth")
    run_average = average(args.model_folder_path, ids, args.average_mode)
    if args.model_path:
        print_note(f"--model_path {args.model_path} is not used, because --num_average_model is given")
    if run_average.earlier == "replaced":
        print_note(f"{run_average.path} was an average of other checkpoints and is replaced")
    args.model_path = str(run_average.path)
    return run_average


def main(argv: Sequence[str] | None = None, prog: str = "main.py") -> int:
    """Run the program with ``argv``, by default the arguments of this process, and return its exit status."""
    parser = build_parser(prog)

    def train_or_score(args: argparse.Namespace) -> int:
        import torch

        inert = ["loss", "test_length", "BTN_ratio", "eval_part", "is_eval"]
        if args.algo == 0:
            inert += _RAWBOOST
        if not args.eval:
            inert.append("eval_output")
        if stated_flags := [f"--{name}" for name in inert if getattr(args, name) != parser.get_default(name)]:
            flags = ", ".join(stated_flags)
            print_note(f"{flags} accepted for compatibility, but without effect, as in the published code")
        torch.backends.cudnn.deterministic = args.cudnn_deterministic_toggle
        torch.backends.cudnn.benchmark = args.cudnn_benchmark_toggle
        if not args.cudnn_deterministic_toggle:
            say("cudnn_deterministic set to False")
        if args.cudnn_benchmark_toggle:
            say("cudnn_benchmark set to True")
        print_device(args.device)
        if args.eval:
            return _score(args)
        from nes2net.lib.output.progress import printing_lines
        from nes2net.training.run import train

        average = _average(args)  # sets args.model_path, which recipe_from_flags reads
        with printing_lines(results=lambda: sys.stderr):  # standard output has the lines of the published program
            train(recipe_from_flags(args), args.device, callbacks=[TrainingLines(average)])
        return 0

    return run(train_or_score, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
