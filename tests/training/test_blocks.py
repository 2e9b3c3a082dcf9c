"""Training in the order of blocks: the order, resuming to the bit, shards elsewhere, and their faults."""

import shutil

import numpy as np
import pytest
from builders import slow
from builders.remote_stores import http_store, packed, s3_store, series, use_own_parts
from builders.runs import assert_same_run, refused, same, state_of, stop

from nes2net.data.audio import packed as packed_shards
from nes2net.data.audio.packed import blocks_of
from nes2net.data.corpora import shards as shards_corpus
from nes2net.lib.web import remote
from nes2net.training.balance import Balance, Level
from nes2net.training.read_ahead import ReadAhead
from nes2net.training.run import Run, train
from nes2net.training.sampling import EpochBatches, ItemBlocks

BLOCKS = ItemBlocks(np.repeat(np.arange(30), 10), 4)


def epoch(**options):
    """The indices of each batch_part of an epoch of 300 items in batches of 12."""
    batches = EpochBatches(300, 12, seed=3, shuffle=True, **{"blocks": BLOCKS, **options})
    return [[index for _, index in batch_part] for batch_part in batches]


def num_open(order, of_item):
    """How many blocks are begun but not finished, at each item of an order."""
    begun = {}
    ended = {}
    for moment, block in enumerate(of_item[order].tolist()):
        begun.setdefault(block, moment)
        ended[block] = moment
    return [sum(begun[block] <= moment <= ended[block] for block in begun) for moment in range(len(order))]


def test_an_epoch_of_blocks_has_each_item_once():
    assert sorted(np.concatenate(epoch())) == list(range(300))


def test_an_epoch_draws_at_a_time_from_at_most_as_many_blocks_as_may_be_open():
    assert max(num_open(np.concatenate(epoch()), BLOCKS.of_item)) <= 4


def test_an_epoch_draws_from_several_blocks_at_a_time():
    assert np.mean(num_open(np.concatenate(epoch()), BLOCKS.of_item)) > 3


def test_the_order_of_the_items_of_blocks_differs_between_epochs():
    assert epoch(epoch=2) != epoch()


def test_the_order_of_the_items_of_blocks_is_the_same_after_resuming():
    assert epoch(start=20) == epoch()[20:]


@pytest.fixture
def balanced():
    """Batches in the order of blocks of 60 rare and 240 common items, balanced by class."""
    balance = Balance(300, [Level(["rare"] * 60 + ["common"] * 240)])
    balance.shuffle_items = BLOCKS.shuffle
    return np.array(epoch(balance=balance))


def test_batches_in_the_order_of_blocks_are_balanced_by_class(balanced):
    assert ((balanced < 60).sum(axis=1) == 6).all()


def test_batches_balanced_by_class_in_the_order_of_blocks_have_few_blocks_open(balanced):
    common = balanced[balanced >= 60]
    assert max(num_open(common, BLOCKS.of_item)) <= 6  # batches are shuffled once more


def test_the_cap_of_a_speaker_holds_in_the_order_of_blocks():
    speakers = np.repeat(np.arange(10), 30).tolist()
    capped = Balance(300, speakers=speakers, speaker_cap=12)
    capped.shuffle_items = BLOCKS.shuffle
    drawn = np.concatenate(epoch(balance=capped))
    assert (np.bincount(np.array(speakers)[drawn]) == 12).all()


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    return packed(corpus, tmp_path_factory.mktemp("shards"), shard_bytes=60_000, group_bytes=30_000)


@pytest.fixture(autouse=True)
def own_parts(tmp_path, monkeypatch):
    return use_own_parts(monkeypatch, tmp_path / "parts")


@pytest.fixture
def runs(recipe, tmp_path):
    """``runs(name, root, **data)``: a recipe on shards in the order of blocks, with augmentation, in its own folder."""

    def make(name, **data):
        data = {"corpus": "shards", "order": "blocks", "open_blocks": 2, **data}
        moments = {"output": str(tmp_path / name), "logs": str(tmp_path / name)}
        return recipe(data=data, augment={"algo": 4}, **moments)

    return make


def split_roots(address, folder, format):
    """The keys of the training and the development shards on an HTTP server."""
    return {
        "root": f"{address}/{series(folder, format)}",
        "dev_root": f"{address}/{series(folder, format, 'validation')}",
    }


def same_weights(run, other_run):
    return same(state_of(run)["detector"], state_of(other_run)["detector"])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_local_shards_and_those_in_s3_or_on_a_server_train_the_same_weights(runs, folder, format):
    """Those on a server also with workers, and without a cache."""
    local = train(runs("local", root=str(folder / format)))
    with http_store(folder) as web, s3_store(folder) as s3:
        assert same_weights(train(runs("web", **split_roots(web.address, folder, format))), local)
        assert same_weights(train(runs("workers", num_workers=2, **split_roots(web.address, folder, format))), local)
        assert same_weights(train(runs("none", cache_bytes=0, **split_roots(web.address, folder, format))), local)
        assert same_weights(train(runs("s3", root=f"{s3}/{format}")), local)


@pytest.mark.slow
def test_no_file_of_a_run_on_s3_holds_the_secret_key(runs, folder):
    with s3_store(folder) as s3:
        of_s3 = train(runs("s3", root=f"{s3}/parquet"))
        assert b"secret-of-the-test" not in b"".join(file.read_bytes() for file in of_s3.iterdir() if file.is_file())


@pytest.mark.slow
def test_a_run_on_shards_stopped_at_a_step_resumes_and_ends_as_if_uninterrupted(runs, folder):
    with http_store(folder) as web:
        roots = split_roots(web.address, folder, "parquet")
        uninterrupted = train(runs("uninterrupted", **roots))
        for moment in ((1, 0), (1, 2), (2, 1)):
            stop(runs("torn", num_workers=1, **roots), *moment)
        assert_same_run(train(runs("torn", **roots)), uninterrupted)


def test_a_resumed_run_fetches_only_the_blocks_that_it_still_needs(folder):
    with http_store(folder) as web:
        trials = shards_corpus.CORPUS.trials(f"{web.address}/{series(folder, 'parquet')}", "train")
        paths = [trial.path for trial in trials]
        blocks = ItemBlocks(blocks_of(paths), 2)
        ahead = ReadAhead(paths, blocks.of_item)
        batches = EpochBatches(12, 3, seed=1, shuffle=True, blocks=blocks, ahead=ahead, start=2)
        fetched = []
        ahead.request = lambda items: fetched.extend(blocks.of_item[items])
        remaining = [index for batch_part in batches for _, index in batch_part]
        assert set(fetched) == set(blocks.of_item[remaining]) != set(blocks.of_item)


def keep_nothing():
    """Let this process read again what it has in memory or in the folder of its parts."""
    remote.remote().cache_bytes = 0
    packed_shards._forget()


@pytest.mark.parametrize("num_workers", [0, *slow(1)])
def test_a_shard_that_changed_is_refused(runs, folder, tmp_path, num_workers):
    """During the run, and when it resumes."""
    copy = shutil.copytree(folder / "parquet", tmp_path / "copy" / "parquet").parent
    message = r"^(?!.*Traceback).*train-\d+-of-\d+\.parquet has changed since it was listed \(size and tag"

    def change():
        for file in (copy / "parquet" / "data").glob("train-*"):
            file.write_bytes(file.read_bytes().replace(b"fLaC", b"fLaX"))
        keep_nothing()
        return []

    with http_store(copy) as web:
        torn = runs("torn", num_workers=num_workers, **split_roots(web.address, copy, "parquet"))
        stop(torn, 1, 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "summary", lambda *_: change())
            refused(torn, message)
        refused(torn, message)
