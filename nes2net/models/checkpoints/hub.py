"""Exchange detectors with the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from nes2net.lib.errors import InputError, join_names, readable_size, short_repr
from nes2net.lib.output.terminal import print_note
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.web.hub import HUB_PAGES, HUB_PREFIX, check_fetched, hub_errors
from nes2net.models.checkpoints.classification import DETECTOR_FILE
from nes2net.models.checkpoints.folder import HEAD
from nes2net.models.checkpoints.huggingface import ADAPTER_FILE, MODEL_FILES, WEIGHT_PATTERNS
from nes2net.models.checkpoints.published_file import PublishedFile

#: Only these files of a repository are downloaded, with its card. Other files, such as the pickle
#: ``training_args.bin``, are omitted.
_MODEL_FOLDER = [HEAD, DETECTOR_FILE, *MODEL_FILES, "README.md"]
#: Temporary files, which interrupted writes leave, are not uploaded.
_TEMPORARY = [".*.tmp", "*/.*.tmp", ".*.tmp/*", "*/.*.tmp/*"]
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")
_NOT_DETECTORS = ("training_args.bin", "optimizer.bin", "scheduler.bin")  # pickles that training programs leave
_MAX_LISTED = 40  # files that a message lists


def upload(folder: AnyPath, name: str, private: bool = False, token: str | None = None) -> str:
    """Upload a detector's folder to the Hugging Face hub, and return the address of the repository.

    Args:
        name: ``owner/name``, created if necessary.
        token: None for the token of ``hf auth login``.

    Raises:
        InputError: if the hub refuses the upload or cannot be reached.
    """
    from huggingface_hub import HfApi  # start-up

    with hub_errors(f"'{name}' was not pushed to the Hugging Face hub", f"{HUB_PAGES}{name}"):
        api = HfApi(token=token)
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Upload detector", ignore_patterns=_TEMPORARY
        )
    return str(address)


def download(name: str) -> Path:
    """Download the detector ``OWNER/NAME`` or ``hub:OWNER/NAME[@REVISION][/FILE]``; return its folder or file.

    Raises:
        InputError: if the repository has several checkpoints, or cannot be downloaded.
    """
    published = PublishedFile(f"{HUB_PREFIX}{name.removeprefix(HUB_PREFIX)}")
    hub = published.hub
    is_path = hub is None or bool(hub["file"]) or Path(name).suffix in _CHECKPOINT_SUFFIXES
    # A name that looks like a path is a missing file here, unless it begins with hub:.
    if hub is None or (is_path and not name.startswith(HUB_PREFIX)):
        raise InputError(
            f"checkpoint {name} not found: name a file, a folder, a published model, or OWNER/NAME on the Hugging Face hub"
        )
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download  # start-up

    repository = hub["repository"]
    revision = hub["revision"]
    file = hub["file"]
    page = f"{HUB_PAGES}{repository}"
    failed = f"'{name}' is not a file or folder here and was not fetched from the Hugging Face hub"
    if not file:
        with hub_errors(failed, page):
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=_MODEL_FOLDER))
            if any(any(folder.glob(pattern)) for pattern in (DETECTOR_FILE, ADAPTER_FILE, *WEIGHT_PATTERNS)):
                return check_fetched(folder)
            files = HfApi().model_info(repository, revision=revision, files_metadata=True).siblings or []
        sizes = {}
        for sibling in sorted(files, key=lambda sibling: sibling.rfilename):
            path = PurePosixPath(sibling.rfilename)
            if path.suffix in _CHECKPOINT_SUFFIXES and path.name not in _NOT_DETECTORS:
                sizes[sibling.rfilename] = sibling.size or 0  # 0 if unknown
        if not sizes:
            return folder  # reading it says what is missing
        if len(sizes) > 1:
            listed_files = [f"{short_repr(file)} ({readable_size(size)})" for file, size in sizes.items()]
            raise InputError(
                f"{published.url} has {len(sizes)} checkpoints: {join_names(listed_files, _MAX_LISTED)}: name one of them, such as "
                f"{published.url}/{min(sizes)}"
            )
        (file,) = sizes
        print_note(f"{published.url}/{file} is the only checkpoint of {repository}")
    with hub_errors(failed, page):
        return check_fetched(Path(hf_hub_download(repository, file, revision=revision)))
