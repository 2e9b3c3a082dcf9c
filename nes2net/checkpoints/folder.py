"""A detector's folder: safetensors, YAML configuration, model card; and its way to the Hugging Face hub and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from nes2net.checkpoints.huggingface import CONFIG_FILE, PREPROCESSOR_FILE, read_huggingface_folder
from nes2net.checkpoints.state_dict import load_state_dict
from nes2net.errors import InputError, first_line
from nes2net.machine.files import replacing, write_text

#: Where the head has a file of its own, the weights are the front-end's alone, under the transformers library's names.
WEIGHTS, HEAD, CONFIG = "model.safetensors", "head.safetensors", "config.yaml"


def write_folder(folder: Path, state_dict: dict[str, Tensor], config: dict[str, Any], record: dict[str, Any]) -> None:
    """Write a detector's weights, architecture, model card, and ``record``, plain data kept with the architecture."""
    clear(folder)
    write_tensors(state_dict, folder / WEIGHTS)
    write_description(folder, config, record)


def clear(folder: Path) -> None:
    """Make ``folder``, or take out what says that it holds a detector: until the new one is whole, it holds none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, HEAD, CONFIG_FILE, PREPROCESSOR_FILE):
        (folder / name).unlink(missing_ok=True)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file, complete or not at all: it may be the one that these very tensors are mapped from."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata={"format": "pt"})


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under the published names, and what a detector's folder says of it: its architecture as ``"model"``, and its record.

    Raises:
        InputError: the folder does not say what it holds, or a part is missing or damaged.
    """
    config_file = folder / CONFIG
    if not config_file.is_file():
        raise InputError(
            f"{folder} is no detector folder: it has no {CONFIG} (a run folder's checkpoints are its epoch_N.pth)"
        )
    try:
        description = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        kind = description["model"]["frontend"]["name"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{config_file} does not describe a model: a mapping with the key 'model' is expected"
        ) from error
    if not (folder / HEAD).is_file():
        return load_state_dict(folder / WEIGHTS), description
    frontend, _ = read_huggingface_folder(folder, kind, known=())
    state_dict = {f"ssl_model.model.{name}": tensor for name, tensor in frontend.items()}
    return {**state_dict, **load_state_dict(folder / HEAD)}, description


def write_description(folder: Path, config: dict[str, Any], record: dict[str, Any] | None = None) -> None:
    """Architecture and model card of a detector's folder."""
    write_text(folder / "README.md", _model_card(config))
    write_text(folder / CONFIG, yaml.safe_dump({"model": config, **(record or {})}, sort_keys=False))


def upload(folder: str | Path, name: str, private: bool = False, token: str | None = None) -> str:
    """Upload a detector's folder to the Hugging Face hub as ``owner/name``, made where it is not there; return its address."""
    from huggingface_hub import HfApi

    with _hub_errors(f"'{name}' was not pushed to the Hugging Face hub"):
        api = HfApi(token=token)
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload detector")
    return str(address)


@contextmanager
def _hub_errors(what: str) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise InputError(f"{what}: {first_line(error)}") from error
    except (
        Exception
    ) as error:  # of the library that connects, which is another one from release to release of the hub's
        raise InputError(f"{what}: {first_line(error)}; check the network connection") from error


def download(name: str) -> Path:
    """The local copy of a model on the Hugging Face hub; a name that is none is an error about files first."""
    if name.count("/") != 1 or name.startswith((".", "/")) or Path(name).suffix in (".pth", ".pt", ".safetensors"):
        raise InputError(f"checkpoint {name} not found")
    from huggingface_hub import snapshot_download

    with _hub_errors(f"'{name}' is no file or folder here and was not fetched from the Hugging Face hub"):
        return Path(snapshot_download(name, allow_patterns=[WEIGHTS, HEAD, CONFIG, CONFIG_FILE]))


def _model_card(config: dict[str, Any]) -> str:
    parts = " → ".join(config[part]["name"] for part in ("frontend", "aggregation", "backend"))
    return (
        "---\ntags: [anti-spoofing, deepfake-speech-detection]\nlibrary_name: nes2net\n---\n\n"
        f"Speech anti-spoofing detector: {parts}.\n\n"
        "Input: 16 kHz mono waveform in [−1, 1]. Output: a score, higher means more bona fide; not a probability.\n\n"
        "```python\nfrom nes2net import Detector\n\ndetector = Detector.from_pretrained('THIS FOLDER')\n"
        "print(detector.score('speech.flac'))\n```\n"
    )
