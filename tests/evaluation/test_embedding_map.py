"""Maps of embeddings: groups that are apart stay apart, and damaged files are named."""

import json
import re

import numpy as np
import pytest

from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.embedding_map import _listed, _rows, map_embeddings
from nes2net.machine.templates import page_templates

#: Attacks of groups of 15 utterances.
GROUPS = ["bona fide", "A07", "A08"]


def vectors(count=15, size=8):
    """Embeddings of three groups that lie far from each other."""
    rng = np.random.default_rng(0)
    return np.concatenate([10 * rng.standard_normal(size) + rng.standard_normal((count, size)) for _ in GROUPS])


def write(path, rows, labels, corpus=None):
    import pyarrow.parquet

    ids = [f"{path.stem}_{n}" for n in range(len(rows))]
    if path.suffix == ".npy":
        np.save(path, rows.astype(np.float32))
        lines = [f"{id},{label}\n" for id, label in zip(ids, labels)]
        path.with_name(f"{path.name}.csv").write_text("id,label\n" + "".join(lines))
    else:
        lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.astype(np.float32).ravel()), rows.shape[1])
        table = pyarrow.table({"id": ids, "label": pyarrow.array(labels), "embedding": lists})
        pyarrow.parquet.write_table(table, path, row_group_size=20)
    if corpus is not None:
        path.with_name(f"{path.name}.json").write_text(json.dumps({"corpus": corpus, "run": {"embedding": "backend"}}))
    return path


@pytest.fixture
def files(tmp_path):
    labels = ["bonafide"] * 15 + ["spoof"] * 30
    first = write(tmp_path / "a.npy", vectors(), labels, {"name": "asvspoof2021_la", "split": "eval"})
    return first, write(tmp_path / "b.parquet", vectors()[:15], [None] * 15)


def test_a_map(files):
    """The nearest point of most points has the same attack."""
    attacks = np.repeat(GROUPS, 15).tolist()
    trials = [Trial(f"a_{n}", label="spoof", attack=attack) for n, attack in enumerate(attacks)]
    found = map_embeddings(files[:1], trials)
    assert found.attacks == attacks and found.points.min() == 0 and found.points.max() == 1
    np.testing.assert_array_equal(map_embeddings(files[:1], trials).points, found.points)
    both = map_embeddings(files, trials)
    assert both.corpora == ["asvspoof2021_la eval"] * 45 + ["b"] * 15 and both.classes[-1] == "not known"
    assert [picture.title for picture in both.pictures()] == ["By class", "By attack", "By corpus"]
    groups = {(group.name, group.size) for group in both.pictures()[1].groups}
    assert groups == {(name, 15) for name in (*GROUPS, "attack not known")}
    alone = map_embeddings(files[:1])
    assert [picture.title for picture in alone.pictures()] == ["By class"]  # no attack is known
    np.save(files[0], np.load(files[0]) * np.float32(1e36))  # squares of such numbers overflow
    for one in (found, map_embeddings(files[:1], trials)):
        distances = np.linalg.norm(one.points[:, None] - one.points[None], axis=2) + 9 * np.eye(45)
        assert np.mean(np.array(attacks) == np.array(attacks)[distances.argmin(1)]) > 0.95


def test_of_many_a_share_is_drawn(files):
    found = map_embeddings(files, most=20, seed=3)
    assert len(found.ids) == 20 and found.total == 60
    assert 4 <= found.classes.count("bona fide") <= 6 and 9 <= found.classes.count("spoof") <= 11
    assert map_embeddings(files, most=20, seed=3).ids == found.ids != map_embeddings(files, most=20, seed=4).ids


def test_the_section_escapes_names_and_draws_all_points(files):
    trials = [Trial(f"a_{n}", attack=f"<b>{n % 40:02d}") for n in range(15, 45)]
    found = map_embeddings(files, trials)
    macro = page_templates("nes2net.evaluation").get_template("embedding_map.html.jinja").module
    html = str(macro.embedding_map_section(found))
    assert "<b>1" not in html and "&lt;b&gt;16" in html
    picture = html.split("<svg role")[1].split("</svg>")[0]
    assert len(re.findall(r"M\d", picture)) == len(found.ids)
    styles = {(group.colour, group.swatch) for group in found.pictures()[1].groups}
    assert len(styles) >= 30  # 30 attacks can be told apart
    assert "All 60 embeddings are drawn" in html


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"\x93NUMPY\1\0", "cannot be read as an array"),
        (np.array([{}, {}]), "cannot be read as an array"),  # a pickle
        (np.zeros(45, np.float32), "not an array of embeddings"),
        (np.full((45, 8), np.nan, np.float32), "some embeddings are not finite"),
        (np.arange(45, dtype=np.float32)[:, None], "of one number each"),
        (np.full((45, 8), 0.1, np.float32), "the embeddings are all equal"),
        ("id,label\na,spoof\n", "has 45 rows, but a.npy.csv lists 1"),
        ("name,label\na,spoof\n", "not a list with the columns id and label"),
    ],
)
def test_damaged_arrays_are_named(files, damage, message):
    if isinstance(damage, str):
        files[0].with_name("a.npy.csv").write_text(damage)
    elif isinstance(damage, bytes):
        files[0].write_bytes(damage)
    else:
        np.save(files[0], damage, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        map_embeddings(files[:1])


def test_damaged_tables_and_other_files_are_named(files, tmp_path):
    import pyarrow.parquet

    cut = tmp_path / "cut.parquet"
    cut.write_bytes(files[1].read_bytes()[:100])
    other = write(tmp_path / "c.npy", vectors(size=9), ["spoof"] * 45)
    few = write(tmp_path / "d.npy", vectors()[:9], ["spoof"] * 9)
    loop = tmp_path / "loop.parquet"
    loop.symlink_to(loop)
    words = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(["x"] * 40), 2)
    lacks, no_numbers = tmp_path / "lacks.parquet", tmp_path / "no_numbers.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"], "embedding": [[1.0]]}), lacks)
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"] * 20, "label": ["a"] * 20, "embedding": words}), no_numbers)
    for paths, message in (
        ([cut], "cannot be read as Parquet"),
        ([lacks], "lacks the columns id, label and embedding"),
        ([no_numbers], "embedding, a list of numbers"),
        ([files[0], other], "embeddings of 8 and 9 numbers"),
        ([tmp_path / "c.txt"], "ends in .npy or .parquet"),
        ([few], "9 embeddings are too few"),
        ([loop], "loop.parquet: cannot be read as Parquet"),
    ):
        with pytest.raises(InputError, match=message):
            map_embeddings(paths)


def test_fewer_embeddings_than_ids_are_told(files):
    """A damaged Parquet file can hold columns of different lengths."""
    listed = _listed(files[1])
    longer = listed._replace(ids=[*listed.ids, "one_more"])
    with pytest.raises(InputError, match="b.parquet has 16 ids, but 15 embeddings"):
        _rows(longer, np.arange(16))
