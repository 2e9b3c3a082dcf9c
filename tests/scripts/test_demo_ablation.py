"""`scripts/demo_ablation`: what is not there is named; tests/training/recipes/test_published.py runs an ablation."""

import pytest
from builders.scripts import run


@pytest.mark.slow
def test_what_is_not_there_is_named(tmp_path):
    assert "has no folder corpus: run scripts/demo.sh --out" in run("demo_ablation", tmp_path).stderr
    (tmp_path / "corpus").mkdir()
    done = run("demo_ablation", tmp_path, "losses", "--only", "latents")
    assert done.returncode == 2 and "losses has no variant latents" in done.stderr
