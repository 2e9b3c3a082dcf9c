"""`nes2net export`: existing files, missing options and a hub that cannot be reached."""

import pytest


@pytest.fixture
def source(spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "in.pth")
    return tmp_path / "in.pth"


def test_a_folder_is_replaced_only_if_asked(source, tmp_path, command, refused):
    words = f"export {source} --to safetensors --out {tmp_path / 'out'}"
    assert command(words)[0] == 0 and (tmp_path / "out" / "model.safetensors").is_file()
    refused(words, "--overwrite")
    assert command(f"{words} --overwrite")[0] == 0


@pytest.mark.parametrize(
    "words, messages",
    [
        ("", ["--to and --out"]),
        ("--to hf", ["--to and --out"]),
        ("--to pth --out {}/out.pth --quantize int8", ["--to onnx", "--quantize"]),
        ("--push a/b --quantize int8", ["--to onnx", "--quantize"]),
    ],
)
def test_what_is_missing_or_does_not_fit(source, tmp_path, refused, words, messages):
    refused(f"export {source} {words}".format(tmp_path), *messages)
    assert list(tmp_path.iterdir()) == [source]


def test_an_unreachable_hub_is_one_line(source, monkeypatch, refused):
    """The hub's own library connects, to an address where nothing listens."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    said = refused(f"export {source} --push somebody/detector", "; check the network conn")
    assert said.startswith("nes2net: error: 'somebody/detector' was not pushed to the Hugging Face hub: ")
