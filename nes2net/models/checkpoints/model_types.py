"""The types of pre-trained models that front-ends read, and the import of the transformers library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from nes2net.lib.errors import InputError, MissingLibrary, first_line, join_names, short_repr
from nes2net.lib.storage.files import AnyPath


class ModelType(NamedTuple):
    """A type of pre-trained model."""

    title: str
    frontend: str
    """The front-end that reads this type in any size."""


#: Hugging Face's ``model_type`` → the type. Models in files of fairseq and unilm are of these types, too.
MODEL_TYPES = {
    "wav2vec2": ModelType("wav2vec 2.0", "wav2vec2"),
    "hubert": ModelType("HuBERT", "hubert"),
    "unispeech-sat": ModelType("UniSpeech-SAT", "hubert"),
    "unispeech": ModelType("UniSpeech", "hubert"),
    "data2vec-audio": ModelType("data2vec", "data2vec"),
    "wavlm": ModelType("WavLM", "wavlm"),
    "wav2vec2-bert": ModelType("w2v-BERT 2.0", "w2v_bert2"),
    "whisper": ModelType("Whisper", "whisper"),
    "audio-spectrogram-transformer": ModelType("AST", "ast"),
}


def is_openai(content: object) -> bool:
    """Whether ``content`` is a checkpoint of Whisper in OpenAI's own format."""
    return isinstance(content, dict) and all(isinstance(content.get(k), dict) for k in ("dims", "model_state_dict"))


def types_of(frontend: str) -> tuple[str, ...]:
    """List the types of models that the front-end ``frontend`` reads."""
    return tuple(name for name, kind in MODEL_TYPES.items() if kind.frontend == frontend)


def check_type(path: AnyPath, model_type: object, types: Iterable[str] = ()) -> str:
    """Check that ``model_type``, found in ``path``, is known and in ``types`` (empty for any); return it.

    Raises:
        InputError: if not; the message says which front-end reads a known type.
    """
    types = tuple(types)
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        raise InputError(
            f"{path} holds a model of type {short_repr(model_type)}, but front-ends only read the types "
            f"{join_names(list(MODEL_TYPES), 9)}: name another checkpoint, or try `model.frontend=audio_encoder`"
        )
    if types and model_type not in types:
        titles = " or ".join(MODEL_TYPES[name].title for name in types)
        title, frontend = MODEL_TYPES[model_type]
        raise InputError(f"{path} holds {title}, not {titles}: `model.frontend={frontend}` reads any size of it")
    return model_type


def from_transformers(*names: str) -> list[Any]:
    """Import classes of the transformers library, and return them in the order of ``names``.

    The library imports torchaudio, which fails if torchaudio was built for another PyTorch.

    Raises:
        MissingLibrary: if it cannot be imported.
    """
    try:
        import transformers  # start-up: takes seconds

        return [getattr(transformers, name) for name in names]
    except (ImportError, OSError, RuntimeError) as error:
        try:
            import torchaudio  # noqa: F401  (optional: installed with some other packages)
        except Exception as torchaudio_error:
            if not isinstance(torchaudio_error, ModuleNotFoundError) or torchaudio_error.name != "torchaudio":
                raise MissingLibrary(
                    "the installed torchaudio does not fit the installed torch, so the transformers library cannot be "
                    "imported: pip uninstall torchaudio (nothing here needs it)"
                ) from error
        raise MissingLibrary(
            f"the transformers library cannot be imported ({first_line(error)}): pip install --upgrade transformers"
        ) from error
