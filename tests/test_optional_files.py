"""Optional files are missing only if nothing has their name: a link to nothing or a folder of that name is an error.

Otherwise a default would silently take the place of what the file says.
"""

from pathlib import Path

import pytest
import torch
from builders import input_error
from builders.classification_folders import folder_of
from builders.files import write

from nes2net import Detector
from nes2net.apps.scale import results
from nes2net.data.registry import corpora
from nes2net.lib.storage.files import is_absent
from nes2net.models.card import CardFile
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.resume_file import read_resume_file
from nes2net.training.run_folder import check_recipe
from nes2net.training.selection import choices


def test_only_a_path_at_which_there_is_no_file_folder_or_link_is_absent(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, target in (("link", "file"), ("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    for name in ("file", "folder", "link", "dangling", "loop"):
        assert not is_absent(tmp_path / name), name
    for name in ("none", "file/below", "none/below", "x" * 300, "null\0"):
        assert is_absent(tmp_path / name), name


def load_detector(folder):
    if is_absent(folder / "config.json"):
        folder_of("Wav2Vec2", folder)
    return Detector.from_pretrained(folder, device="cpu")


def read_epochs(folder):
    torch.save({}, folder / "epoch_1.pth")
    return choices(folder)


def read_frames(folder):
    return ScoreFile.of(write(folder / "s.txt", "a 0 0.5\n")).read(read_segment_scores)


@pytest.mark.parametrize(
    "name, read",
    [
        ("config.yaml", load_detector),
        ("card.json", CardFile.read),
        ("resume.pt", read_resume_file),
        ("recipe.yaml", lambda folder: check_recipe(folder, recipe_from_dict({"name": "tiny"}))),
        ("history.json", read_epochs),
        ("s.txt.json", read_frames),
        ("scale.json", results.read_record),
        ("train.csv", lambda folder: corpora.get("generic").trials(folder, "train")),
    ],
)
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nowhere"), Path.mkdir], ids=["link", "folder"])
def test_a_link_to_nothing_or_a_folder_in_place_of_an_optional_file_is_an_error(tmp_path, name, read, make):
    make(tmp_path / name)
    with input_error(name):
        read(tmp_path)
