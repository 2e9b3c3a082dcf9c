"""Reading checkpoints without running them, and saying how two differ."""

import io
import json
import zipfile

import pytest
import soundfile
import torch
from builders import input_error
from safetensors.torch import save_file

from nes2net import load_state_dict
from nes2net.models.checkpoints.state_dict import (
    check_fit,
    digest,
    rename_in_place,
    renamed,
    save_atomically,
    save_state_dict,
    with_metadata,
)


def saved(content):
    """The bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def a_zip_file():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/readme.txt", "nothing")
    return file.getvalue()


def a_recording(kind):
    file = io.BytesIO()
    soundfile.write(file, torch.rand(16000).numpy(), 16000, format="NIST" if kind == "SPHERE" else kind)
    return file.getvalue()


NAME_IT = "; name the file that holds the weights$"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"PK\x03\x04 torn", "is not a checkpoint or is damaged"),
        (b"\x80\x02}q\x00", "is not a checkpoint or is damaged"),
        *(
            (text.encode(), f"is a text file, not a checkpoint{NAME_IT}")
            for text in ("LA_0079 LA_E_2834763 - A11 spoof\n", '["nes2net"]', "(l.", "a" + 2000 * "é")
        ),
        (bytes(257) + b"ustar", "is a tar archive, not a checkpoint"),
        *(
            (a_recording(kind), rf"is a recording \((?i:{kind})\), not a checkpoint{NAME_IT}")
            for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "SPHERE")
        ),
        (a_zip_file(), "is a zip archive but not a checkpoint"),
        (saved({"epoch": 3, "loss": 0.1}), "holds no state dict: .* found a dictionary with 'epoch', 'loss'"),
        (
            saved({"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}}),
            "holds several state dicts, 'a', 'b': save only one",
        ),
        (saved([1, 2]), "holds no state dict: expected names and tensors, found a list: save a state_dict"),
        (saved(torch.nn.Linear(2, 2)), ".* a pickled object of torch.nn.modules.linear.Linear: save its state_dict"),
    ],
)
def test_a_file_without_a_single_state_dict_is_refused_with_what_it_is_or_holds(tmp_path, content, message):
    (tmp_path / "torn.pth").write_bytes(content)
    with input_error(rf"torn\.pth {message}"):
        load_state_dict(tmp_path / "torn.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_read_from_a_file_of_torch_that_may_hold_other_content(tmp_path, legacy):
    tensors = {"a.weight": torch.randn(3), "b": torch.arange(3)}
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
    usual = [{key: tensors} for key in ("model", "state_dict", "model_state")]
    unusual = [{"net": tensors, "epoch": 3, "optimizer": optimizer}, {"saved": {"weights": tensors}, "loss": 0.1}]
    unusual.append({"ema": {"a": torch.ones(2)}, "model": tensors})
    for content in (tensors, *usual, *unusual):
        torch.save(content, tmp_path / "file.pth", _use_new_zipfile_serialization=not legacy)
        state_dict = load_state_dict(tmp_path / "file.pth")
        assert list(state_dict) == list(tensors)
        assert all(torch.equal(state_dict[k], tensors[k]) for k in tensors)


def test_a_state_dict_is_read_without_the_prefix_of_dataparallel(tmp_path):
    torch.save({"module.a.weight": torch.ones(3), "module.b": torch.ones(1)}, tmp_path / "file.pth")
    assert list(load_state_dict(tmp_path / "file.pth")) == ["a.weight", "b"]


def test_tensors_that_get_the_same_name_are_refused_with_both_names():
    with input_error("^m.pt holds one tensor under two names, x.a and a: remove one of them"):
        renamed({"x.a": 1, "b": 2, "a": 3}, lambda name: name.removeprefix("x."), "m.pt")


def test_only_tensors_under_the_prefix_are_renamed_in_place_and_in_their_order():
    tensors = {"p.b": 1, "b": 2, "p.a": 3}
    rename_in_place(tensors, "p.", str.upper)
    assert list(tensors.items()) == [("b", 2), ("p.B", 1), ("p.A", 3)]


def test_torch_load_reads_a_checkpoint_with_a_record_as_a_bare_state_dict(tmp_path):
    layer = torch.nn.BatchNorm1d(3)
    save_state_dict(layer.state_dict(), tmp_path / "layer.pth", epoch=7, recipe={"lr": 1e-6})
    layer.load_state_dict(torch.load(tmp_path / "layer.pth", weights_only=True), strict=True)


def test_equal_content_gives_checkpoints_of_equal_bytes(tmp_path):
    """Whether equal texts and lists are the same objects or copies, as after a training was resumed."""
    shared = {"name": "mean_linear", "options": [8, [1.5, None]]}
    record = {"model": shared, "recipe": {"model": shared}}
    for folder, equal_record in (("one", record), ("other", json.loads(json.dumps(record)))):
        (tmp_path / folder).mkdir()
        save_state_dict({"a": torch.ones(2)}, tmp_path / folder / "a.pth", **equal_record)
    assert (tmp_path / "one" / "a.pth").read_bytes() == (tmp_path / "other" / "a.pth").read_bytes()


def test_a_failed_write_of_a_checkpoint_leaves_only_the_old_file(tmp_path):
    class Unsaveable:
        def __reduce__(self):
            raise OSError("disk full")

    path = tmp_path / "state.pt"
    save_atomically({"epoch": 1}, path)
    with pytest.raises(OSError, match="disk full"):
        save_atomically({"epoch": 2, "bad": Unsaveable()}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


EXPECTED = {"w": torch.zeros(2), "n": torch.zeros(2, dtype=torch.int64)}


def test_a_file_whose_tensors_do_not_fit_the_model_is_refused_with_their_names():
    message = r"file does not fit.*missing: n.*left over: c.*other shape: w \(4,\) where \(2,\)"
    with input_error(message):
        check_fit({"w": torch.zeros(4), "c": torch.zeros(1)}, EXPECTED, "file")


def test_weights_of_a_file_in_integers_booleans_complex_numbers_or_float8_are_refused():
    """Weights and counters in another precision than the model are not."""
    for weights, counters in ((torch.float16, torch.float32), (torch.float64, torch.int32)):
        check_fit({"w": torch.zeros(2, dtype=weights), "n": torch.zeros(2, dtype=counters)}, EXPECTED, "file")
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn):
        with input_error(r"does not fit this model; other type: w \w+ where float32 is needed"):
            check_fit({**EXPECTED, "w": torch.zeros(2).to(dtype)}, EXPECTED, "file")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_file_is_refused_with_the_names_of_only_those_tensors_that_are_not_finite(dtype):
    largest = torch.full((64,), torch.finfo(dtype).max, dtype=dtype)  # their sum is infinite
    check_fit({"w": largest}, {"w": largest}, "file")
    for number in (float("nan"), float("inf"), -float("inf")):
        state_dict = {"w": largest, "b": torch.tensor([1, number], dtype=dtype), "n": torch.ones(1, dtype=torch.int64)}
        with input_error("file has NaN or infinite numbers in b, so that no score"):
            check_fit(state_dict, state_dict, "file")


@pytest.mark.parametrize("metadata", [{"": 5}, {"": {"version": "x"}}, {5: {}}])
def test_metadata_of_other_programs_do_not_keep_a_file_from_loading(tmp_path, metadata):
    layer = torch.nn.BatchNorm1d(3)
    torch.save(with_metadata(layer.state_dict(), metadata), tmp_path / "layer.pth")
    layer.load_state_dict(load_state_dict(tmp_path / "layer.pth"))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.999])
def test_truncated_safetensors_are_refused(tmp_path, share):
    save_file({"w": torch.zeros(1000), "b": torch.ones(3)}, tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(content[: int(share * len(content))])
    with input_error(r"torn\.safetensors is not a safetensors file or is damaged"):
        load_state_dict(tmp_path / "torn.safetensors")


def test_only_names_order_types_shapes_and_values_of_tensors_change_their_digest():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
    variants = [
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"].view(torch.int32), "b": tensors["b"]},
        {"a": tensors["a"].reshape(3, 2), "b": tensors["b"]},
        {"a": tensors["a"] + 1e-6, "b": tensors["b"]},
        {"b": tensors["b"], "a": tensors["a"]},
        {"a": tensors["a"]},
    ]
    assert len({digest(state) for state in (tensors, *variants)}) == 7
    assert digest({"a": tensors["a"].mT.contiguous().mT, "b": tensors["b"].clone()}) == digest(tensors)
