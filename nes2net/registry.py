"""Names of front-ends, aggregations, back-ends and corpora, and the factories behind them.

The names are the command line's and the recipes' names. A factory is given as ``"module:attribute"`` (a corpus as
``"module"``) and imported when it is first needed, so that listing the names costs nothing.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from nes2net.errors import InputError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` or the list of what is known, for the end of an error message.

    >>> did_you_mean("dilaton", ["dilation", "pool"])
    "; did you mean 'dilation'?"
    >>> did_you_mean("zzz", ["dilation", "pool"])
    '; known: dilation, pool'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


class Registry:
    """A table name → factory for one kind of thing."""

    def __init__(self, kind: str, table: dict[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._table)

    def add(self, name: str, factory: str) -> None:
        """Register ``factory`` (``"module:attribute"``) under ``name``; a name that is taken is an error."""
        if name in self._table:
            raise InputError(f"{self.kind} '{name}' is registered already as {self._table[name]}")
        self._table[name] = factory

    def get(self, name: str) -> Callable[..., Any]:
        """The factory registered under ``name``; an unknown name raises :class:`InputError` with the nearest one."""
        if name not in self._table:
            raise InputError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._table)}")
        module, _, attribute = self._table[name].partition(":")
        return getattr(import_module(module), attribute) if attribute else import_module(module)

    def create(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the factory with ``options``; an option it does not have raises :class:`InputError` with the nearest one."""
        factory = self.get(name)
        parameters = inspect.signature(factory).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            for option in options:
                if option not in parameters:
                    raise InputError(f"{self.kind} '{name}' has no option '{option}'{did_you_mean(option, parameters)}")
        return factory(*args, **options)


frontends = Registry(
    "front-end",
    {
        "wav2vec2": "nes2net.frontends.wav2vec2:Wav2Vec2Frontend",
        "wav2vec2_small": "nes2net.frontends.wav2vec2:wav2vec2_small",
        "xlsr_300m": "nes2net.frontends.wav2vec2:xlsr_300m",
        "wavlm": "nes2net.frontends.wavlm:WavLMFrontend",
        "wavlm_large": "nes2net.frontends.wavlm:wavlm_large",
        "lps": "nes2net.frontends.spectral:LogPowerSpectrum",
        "lfcc": "nes2net.frontends.spectral:LinearFrequencyCepstrum",
        "waveform": "nes2net.frontends.spectral:Waveform",
    },
)
aggregations = Registry(
    "aggregation",
    {
        "last": "nes2net.aggregation:Last",
        "weighted_sum": "nes2net.aggregation:WeightedSum",
        "sea": "nes2net.aggregation:SqueezeExcitationAggregation",
        "attm": "nes2net.aggregation:AttentiveMerging",
    },
)
backends = Registry(
    "back-end",
    {
        "nes2net": "nes2net.backends.nes2net:nes2net",
        "nes2net_x": "nes2net.backends.nes2net:nes2net_x",
        "nes2net_x_selu": "nes2net.backends.nes2net:nes2net_x_selu",
        "aasist": "nes2net.backends.aasist:aasist",
        "raw_aasist": "nes2net.backends.raw_aasist:raw_aasist",
        "raw_aasist_l": "nes2net.backends.raw_aasist:raw_aasist_l",
        "sls": "nes2net.backends.sls:SLS",
        "conformer": "nes2net.backends.conformer:conformer",
        "tcm": "nes2net.backends.conformer:tcm",
        "mamba": "nes2net.backends.mamba:Mamba",
        "mpif_res2net": "nes2net.backends.mpif_res2net:MpifRes2Net",
        "asp_mlp": "nes2net.backends.asp_mlp:AspMlp",
        "attm_lstm": "nes2net.backends.attm_lstm:AttMLSTM",
    },
)
corpora = Registry(
    "corpus",
    {
        "asvspoof2019_la": "nes2net.data.asvspoof2019_la",
        "asvspoof2021_la": "nes2net.data.asvspoof2021_la",
        "asvspoof2021_df": "nes2net.data.asvspoof2021_df",
        "asvspoof5": "nes2net.data.asvspoof5",
        "in_the_wild": "nes2net.data.in_the_wild",
        "ctrsvdd": "nes2net.data.ctrsvdd",
        "partialspoof": "nes2net.data.partialspoof",
        "generic": "nes2net.data.generic",
    },
)


def _with_config(part: Any, name: str, options: dict[str, Any]) -> Any:
    """Let ``part`` remember in ``part.config`` how it was built, unless it knows better itself."""
    if not hasattr(part, "config"):
        part.config = {"name": name, **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}}
    return part


def create_frontend(name: str, checkpoint: str | None = None, **options: Any) -> Any:
    """Build a front-end: waveform B×N → list of hidden states B×T×D. ``checkpoint`` is a pre-training file of its kind."""
    return _with_config(frontends.create(name, checkpoint=checkpoint, **options), name, options)


def create_aggregation(name: str, num_layers: int, feature_dim: int, **options: Any) -> Any:
    """Build an aggregation: sequence of ``num_layers`` tensors B×T×D → B×T×D."""
    part = aggregations.create(name, num_layers=num_layers, feature_dim=feature_dim, **options)
    return _with_config(part, name, options)


def create_backend(name: str, **options: Any) -> Any:
    """Build a back-end: features B×T×D → logits B×n."""
    return _with_config(backends.create(name, **options), name, options)
