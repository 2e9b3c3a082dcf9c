"""main.py prints a setting of cuDNN if a flag toggles it, before the device."""

import pytest

from nes2net.cli.published import main as legacy

FALSE = "cudnn_deterministic set to False\n"
TRUE = "cudnn_benchmark set to True\n"


PRINTED = {
    "": "",
    "--cudnn-deterministic-toggle": FALSE,
    "--cudnn-benchmark-toggle": TRUE,
    "--cudnn-benchmark-toggle --cudnn-deterministic-toggle": FALSE + TRUE,
}


@pytest.mark.parametrize("flags", PRINTED)
@pytest.mark.parametrize("mode", ["", "--eval --eval_output scores.txt"])
def test_only_toggled_settings_of_cudnn_are_printed_before_the_device(output, flags, mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = f"--model_name wav2vec2_Nes2Net_X --device cpu --database_path nowhere {flags} {mode}"
    printed = output(words, 2, program=legacy.main).out  # there is no corpus
    assert printed == f"{PRINTED[flags]}Device: cpu\n"
