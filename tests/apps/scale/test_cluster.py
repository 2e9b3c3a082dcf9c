"""How many actors there are, and what each takes of a cluster."""

import sys

import pytest

from nes2net.apps.scale.cluster import Resources, connect


@pytest.mark.parametrize(
    "resources, available, device, expected",
    [
        (Resources(), {"CPU": 9}, "auto", Resources(8, 1, 0)),
        (Resources(), {"CPU": 9, "GPU": 2}, "auto", Resources(2, 0, 1)),
        (Resources(gpus_per_actor=0.25), {"CPU": 9, "GPU": 2}, "cuda", Resources(8, 0, 0.25)),
    ],
)
def test_resources_are_resolved_to_actors_that_fit(resources, available, device, expected):
    assert resources.resolve(available, device) == expected
    assert expected.device == ("cuda" if expected.gpus_per_actor else "cpu")


def test_workers_search_no_modules_in_the_current_folder(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    monkeypatch.chdir(tmp_path)

    def search_path():
        return sys.path

    with connect(Resources()):
        searched = ray.get(ray.remote(search_path).remote())
    assert not {"", str(tmp_path)} & set(searched)
