"""The Detector: front-end, aggregation and back-end in one, under the published names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.checkpoint import Misfit, check_fit, compare, load_state_dict, read_record, save_state_dict
from nes2net.data.audio import SAMPLE_RATE
from nes2net.data.crop import head_crop
from nes2net.devices import choose_device
from nes2net.errors import InputError
from nes2net.folder import download, read_folder, upload, write_folder
from nes2net.inference import (
    OnError,
    check_num_samples,
    eval_twin,
    in_eval_mode,
    scores_in_order,
    scores_of,
    waveform_of,
)
from nes2net.published_names import read_published_names, write_published_names
from nes2net.registry import create_aggregation, create_backend, create_frontend, did_you_mean
from nes2net.track import TRACK_WINDOW, Track, score_track


def _ctrsvdd(backend: str) -> dict[str, Any]:
    """WavLM-Large, squeeze-and-excitation aggregation, one logit, dilation 1: the CtrSVDD systems."""
    options = {"name": backend, "dilation": 1, "num_logits": 1}
    return {"frontend": {"name": "wavlm_large", "normalize": True}, "aggregation": "sea", "backend": options}


_WAVLM_LAST = {"frontend": {"name": "wavlm_large", "normalize": False}, "aggregation": "last"}

#: Whole-model names of the published recipes → front-end, aggregation, back-end. `wavlm_*` are the ASVspoof 5
#: systems, AASIST and AASIST-L work on the waveform.
PUBLISHED_MODELS = {
    "wav2vec2_Nes2Net_X": {"frontend": "xlsr_300m", "aggregation": "last", "backend": "nes2net_x"},
    "wav2vec2_AASIST": {"frontend": "xlsr_300m", "aggregation": "last", "backend": "aasist"},
    "WavLM_Nes2Net": _ctrsvdd("nes2net"),
    "WavLM_Nes2Net_X": _ctrsvdd("nes2net_x"),
    "WavLM_Nes2Net_X_SeLU": _ctrsvdd("nes2net_x_selu"),
    "wavlm_nes2net": {**_WAVLM_LAST, "backend": {"name": "nes2net_x", "dilation": 1, "se_floor": 2}},
    "wavlm_aasist": {**_WAVLM_LAST, "backend": "aasist"},
    "AASIST": {"frontend": "waveform", "backend": "raw_aasist"},
    "AASIST-L": {"frontend": "waveform", "backend": "raw_aasist_l"},
}


class Detector(nn.Module):
    """A waveform in, logits or a score out.

    The score is ``logit[:, 1]`` of a two-logit back-end, or the logit of a one-logit one: higher means more bona fide. It is no
    probability; a threshold is chosen on a development set of the deployment's own conditions.

    Args:
        frontend: waveform B×N → list of hidden states B×T×D.
        aggregation: hidden states → B×T×D.
        backend: B×T×D → logits B×n.

    ``state_dict()`` has the names of the published whole-model checkpoints, and ``load_state_dict`` reads them. ``record`` is what the
    checkpoint that it came from says of its making (the recipe), empty for one that was built.
    """

    def __init__(self, frontend: nn.Module, aggregation: nn.Module, backend: nn.Module) -> None:
        super().__init__()
        self.frontend, self.aggregation, self.backend = frontend, aggregation, backend
        self.layers = getattr(backend, "wants_layers", "last")
        if self.layers == "last":
            self.layers = getattr(aggregation, "wants_layers", "all")
        self.final_norm = getattr(backend, "wants_final_norm", True)
        self.record: dict[str, Any] = {}
        self.register_state_dict_post_hook(write_published_names)
        self.register_load_state_dict_pre_hook(read_published_names)

    @classmethod
    def from_config(cls, config: dict[str, Any], checkpoint: str | None = None) -> Detector:
        """Build from ``{"frontend": {"name": …, options}, "aggregation": …, "backend": …}``; a bare name stands for its defaults.

        ``checkpoint`` is the front-end's pre-training file. Weights are random otherwise.
        """
        if left_over := set(config) - {"frontend", "aggregation", "backend"}:
            name = min(left_over)
            raise InputError(
                f"a model has no part '{name}'{did_you_mean(name, ['frontend', 'aggregation', 'backend'])}"
            )
        frontend_name, frontend_options = _name_and_options(config, "frontend")
        frontend = create_frontend(frontend_name, checkpoint, **frontend_options)
        name, options = _name_and_options(config, "aggregation", "last")
        aggregation = create_aggregation(name, frontend.num_layers, frontend.out_dim, **options)
        name, options = _name_and_options(config, "backend")
        backend = create_backend(name, **{"feature_dim": frontend.out_dim, **options})
        return cls(frontend, aggregation, backend)

    @classmethod
    def on_meta(cls, config: dict[str, Any]) -> Detector | None:
        """The architecture without memory, for weights that come from a file; None where a part computes tensors of its own."""
        with torch.device("meta"):
            detector = cls.from_config(config)
        held = detector.state_dict(keep_vars=True).values()
        own = {id(t) for t in (*detector.parameters(), *detector.buffers())} - {id(t) for t in held}
        return None if own else detector

    @property
    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build this architecture again; plain data."""
        return {part: dict(getattr(self, part).config) for part in ("frontend", "aggregation", "backend")}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def min_samples(self) -> int:
        """Samples of the shortest waveform that gives the back-end as many frames as it needs."""
        return self.frontend.min_samples + (self.backend.min_frames - 1) * self.frontend.hop_length

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits B×n of ``waveform`` (B×N, 16 kHz mono, in [−1, 1], float32 whatever the detector's precision)."""
        return self.backend(self.features(self.hidden_states(waveform)))

    def hidden_states(self, waveform: Tensor) -> list[Tensor]:
        """The front-end's hidden states B×T×D that aggregation and back-end ask for."""
        weight = next(self.frontend.parameters(), None)
        if weight is not None:
            waveform = waveform.to(weight.dtype)
        states = self.frontend(waveform, layers=self.layers, final_norm=self.final_norm)
        # One without weights, such as a spectrum, works in the waveform's precision, whatever that of the others is.
        return states if weight is not None else [state.to(self.dtype) for state in states]

    def features(self, hidden_states: list[Tensor]) -> Tensor | list[Tensor]:
        """What the back-end is given: the aggregation of the hidden states, B×T×D, or all of them."""
        if getattr(self.backend, "wants_layers", "last") == "all":
            return hidden_states
        return self.aggregation(hidden_states)

    def scores(self, waveform: Tensor) -> Tensor:
        """Scores (B,) of ``waveform`` B×N, in whichever mode and precision the detector is."""
        return bonafide_scores(self(waveform))

    def score(
        self,
        audio: str | Path | np.ndarray | Tensor,
        sample_rate: float = SAMPLE_RATE,
        num_samples: int | None = None,
    ) -> float:
        """Score of one recording: higher means more bona fide. The mode of the detector makes no difference and is not changed.

        Any number of threads may score at once. (One that trains it meanwhile changes the weights, and the mode, they score with.)

        Args:
            audio: a file, or floating-point samples (N,) or (channels, N) in [−1, 1], on any device.
            sample_rate: of the samples, in Hz; a file has its own.
            num_samples: the first so many samples, repeated when there are fewer, as the '4sec' protocol; None for all of them
                (a recording of less than ``min_samples`` is repeated to that).

        Raises:
            InputError: the file cannot be read, there are no samples, or they are integers, not finite or far outside [−1, 1].
        """
        check_num_samples(num_samples)
        waveform = waveform_of(audio, sample_rate)
        waveform = head_crop(waveform, num_samples or max(len(waveform), self.min_samples))
        return scores_of(in_eval_mode(self), torch.from_numpy(waveform)[None])[0]

    def score_files(
        self,
        paths: Iterable[str | Path],
        num_samples: int | None = None,
        *,
        batch_size: int = 8,
        workers: int = 2,
        on_error: OnError = "raise",
    ) -> Iterator[tuple[str | Path, float]]:
        """(path, score) for each file, in the order given, as the iterator is asked for them.

        Each score is the one that :meth:`score` gives, to 1e-6: only utterances of one length share a batch. A few batches of files
        are read ahead by threads, so ``paths`` may be endless. Switching the mode between two scores makes no difference, unless the
        detector is compiled.

        Args:
            num_samples: as for :meth:`score`.
            batch_size: utterances that are computed at once, at most.
            workers: threads that read files.
            on_error: ``"raise"``: a file that cannot be scored raises :class:`InputError`, which names it, after the scores of those
                before it. A function is called with the path and the error instead, and the file is left out.
        """
        if isinstance(paths, (str, Path)):
            raise InputError(
                f"score_files takes several paths; for {paths} alone there is score(), or give [{str(paths)!r}]"
            )
        for name, value in (("batch_size", batch_size), ("workers", workers)):
            if value < 1:
                raise InputError(f"{name} is at least 1, not {value}")
        if on_error != "raise" and not callable(on_error):
            raise InputError(f"on_error is 'raise' or a function of a path and an error, not {on_error!r}")
        check_num_samples(num_samples)
        from nes2net.batching import Reading  # which imports what training needs as well

        reading = Reading.of(self, num_samples)
        scored = scores_in_order(eval_twin(self), paths, reading, batch_size, workers, on_error)
        return ((path, score) for path, score, _ in scored)

    def score_track(
        self,
        audio: str | Path | np.ndarray | Tensor,
        sample_rate: float = SAMPLE_RATE,
        *,
        window: float = TRACK_WINDOW,
        hop: float = 0.5,
        batch_size: int = 8,
    ) -> Track:
        """Scores along a long recording: one for each ``window`` seconds, every ``hop`` seconds.

        A file is read in pieces, so that hours of it take no more memory than minutes. The last window ends where the recording ends,
        wherever the others fall; a recording shorter than a window has one score, that of :meth:`score`.

        Args:
            audio, sample_rate: as for :meth:`score`.
            window, hop: in seconds; the default window is the length of training (64,600 samples). A hop longer than the
                window leaves gaps unheard.

        Raises:
            InputError: as :meth:`score`; the window is too short for the detector, or the hop is not positive.
        """
        return score_track(self, audio, sample_rate, window=window, hop=hop, batch_size=batch_size)

    def load_published(self, state_dict: dict[str, Tensor], path: str, assign: bool = False) -> None:
        """Load a whole-model state dict strictly; a misfit raises :class:`InputError` that names keys and shapes.

        ``assign`` makes its tensors the parameters instead of copying them.
        """
        state_dict = unwrap_frontend(state_dict)
        check_fit(state_dict, self.state_dict(), path)
        self.load_state_dict(state_dict, assign=assign)

    def save(self, path: str | Path, **record: Any) -> None:
        """Write ``path``: a published-style state dict for ``.pth`` and ``.pt``, else a folder of safetensors, YAML and a model card.

        ``record`` is plain data kept beside the tensors; the architecture is always kept.
        """
        path = Path(path)
        if path.suffix in (".pth", ".pt"):
            save_state_dict(self.state_dict(), path, model=self.config, **record)
        else:
            write_folder(path, self.state_dict(), self.config, record)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the folder that :meth:`save` writes to the Hugging Face hub as ``owner/name``, made where it is not there.

        Returns its address. ``token`` is the one of ``hf auth login`` when not given. Errors of the hub are :class:`InputError`.
        """
        with TemporaryDirectory() as folder:
            self.save(folder)
            return upload(folder, name, private, token)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        config: dict[str, Any] | str | None = None,
    ) -> Detector:
        """Load a trained detector, in eval mode. No front-end file is needed.

        Args:
            path_or_name: a ``.pth`` whole-model state dict, a folder written by :meth:`save`, or a name on the Hugging Face hub.
            device: ``"auto"`` takes CUDA where there is one.
            dtype: ``"auto"`` keeps the file's (float32 for front-ends with filters of their own: ``lps``, ``lfcc``, ``waveform``).
            config: architecture for a checkpoint that does not say its own (those of the published code): as for :meth:`from_config`, a
                published model's name, or a recipe's file; when not given, the one published model with the checkpoint's names and shapes.

        The weights stay memory-mapped on the CPU: a checkpoint must not be written to while its detector lives.
        """
        path = Path(path_or_name)
        if not path.exists():
            path = download(str(path_or_name))
        if path.is_dir():
            state_dict, record = read_folder(path)
        else:
            state_dict = load_state_dict(path)
            record = read_record(state_dict)
        if isinstance(config, str):
            config = named_architecture(config)
        config = record.pop("model", None) or config or _architecture(state_dict, str(path_or_name))
        with sound_description(str(path_or_name)):
            detector = cls.on_meta(config)
            assign = detector is not None
            detector = detector or cls.from_config(config)
        detector.load_published(state_dict, str(path_or_name), assign)
        detector.record = record
        if dtype != "auto":
            detector = detector.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        return detector.to(choose_device(device)).eval()


def bonafide_scores(logits: Tensor) -> Tensor:
    """Scores (B,) of logits B×n: the second of two, or the only one. Higher means more bona fide."""
    return logits[:, -1]


def _name_and_options(config: dict[str, Any], part: str, default: str | None = None) -> tuple[str, dict[str, Any]]:
    value = config.get(part, default)
    options = {"name": value} if isinstance(value, str) else dict(value or {})
    if "name" not in options:
        raise InputError(f"the model's {part} has no name: write '{part}: {{name: …}}'")
    return options.pop("name"), options


def named_architecture(name: str) -> dict[str, Any]:
    """Architecture of a published model's name or of the recipe (YAML) of that name."""
    if name in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[name]
    if Path(name).is_file():
        from nes2net.config import load_recipe

        return load_recipe(name).model
    raise InputError(
        f"architecture '{name}' is neither a published model nor a recipe{did_you_mean(name, PUBLISHED_MODELS)}"
    )


@contextmanager
def sound_description(path: str) -> Iterator[None]:
    """What a file says of its own architecture may be anything; where that cannot be built, :class:`InputError` names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path} describes no model that can be built: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{path} describes no model that can be built ({type(error).__name__}: {error})") from error


def unwrap_frontend(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whole-model names where the front-end lies inside a wrapper: s3prl's ``upstream`` puts its own names before WavLM's."""
    end = "encoder.pos_conv.0.weight_v"
    wrappers = [k.removesuffix(end) for k in state_dict if k.startswith("ssl_model.") and k.endswith(end)]
    if len(wrappers) != 1 or wrappers[0] == "ssl_model.model.":
        return state_dict
    return {
        f"ssl_model.model.{k.removeprefix(wrappers[0])}" if k.startswith(wrappers[0]) else k: v
        for k, v in state_dict.items()
    }


def recognise(state_dict: dict[str, Tensor]) -> dict[str, Misfit]:
    """How a whole-model state dict differs from each published model, the nearest first; not at all from what it may be."""
    state_dict = unwrap_frontend(state_dict)
    misfits = {}
    for name, config in PUBLISHED_MODELS.items():
        with torch.device("meta"):
            misfits[name] = compare(state_dict, Detector.from_config(config).state_dict())
    return dict(sorted(misfits.items(), key=lambda item: len(item[1])))


def _architecture(state_dict: dict[str, Tensor], path: str) -> dict[str, Any]:
    """Architecture of a checkpoint that does not say its own."""
    misfits = recognise(state_dict)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if len(fitting) == 1:
        return PUBLISHED_MODELS[fitting[0]]
    if fitting:
        raise InputError(
            f"{path} fits {' and '.join(fitting)} alike, whose weights have the same names and shapes: say which it is with --architecture "
            "(config in Python)"
        )
    nearest, misfit = next(iter(misfits.items()))
    raise InputError(
        f"{path} is no published model's as it stands; from the nearest, {nearest}, it differs in {misfit}. Name its "
        "architecture with --architecture (config in Python)"
    )
