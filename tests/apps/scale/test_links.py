"""Links under the names of the files that a collection writes are replaced, and what they lead to stays."""

import pytest
from builders.files import write

pytest.importorskip("pyarrow")

from builders.collection import RUN, write_record

from nes2net.apps.scale.results import result_path, to_score_file, write_results
from nes2net.apps.scale.sources import Shard


def test_a_collection_replaces_links_under_the_names_of_its_files_in_place_of_writing_through_them(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    elsewhere = write(tmp_path / "elsewhere", "precious")
    shard = Shard("/data/a.tar", "1", "a.tar")
    scores = tmp_path / "s.txt"
    written = [result_path(out, shard), scores, tmp_path / "s.txt.json"]
    for path in written:
        path.symlink_to(elsewhere)
    write_record(out, {"run": RUN, "failures": {}, "total": 1})
    write_results(out, shard, RUN, [{"id": "a", "seconds": 1.5, "score": 1.0, "error": None}])
    to_score_file(out, scores)
    assert elsewhere.read_text() == "precious"
    assert not any(path.is_symlink() for path in written)
    assert scores.read_text() == "a 1.0\n"
