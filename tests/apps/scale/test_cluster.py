"""How many actors there are, and what each takes of a cluster."""

import sys

import pytest

from nes2net.apps.scale.cluster import Resources, connect


@pytest.mark.parametrize(
    "resources, available, device, expected, computes_on",
    [
        (Resources(), {"CPU": 9}, "auto", Resources(8, 1, 0), "cpu"),
        (Resources(), {"CPU": 9, "GPU": 2}, "auto", Resources(2, 0, 1), "cuda"),
        (Resources(gpus_per_actor=0.25), {"CPU": 9, "GPU": 2}, "cuda", Resources(8, 0, 0.25), "cuda"),
    ],
)
def test_as_many_actors_are_planned_as_the_gpus_or_without_any_the_cpus_have_room_for(
    resources, available, device, expected, computes_on
):
    resolved = resources.resolve(available, device)
    assert resolved == expected
    assert resolved.device == computes_on


@pytest.mark.slow
def test_processes_of_ray_import_no_modules_from_the_current_folder(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    monkeypatch.chdir(tmp_path)

    def search_path():
        return sys.path

    with connect(Resources()):
        searched = ray.get(ray.remote(search_path).remote())
    assert not {"", str(tmp_path)} & set(searched)
