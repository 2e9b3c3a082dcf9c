"""The boundaries: every kind of file from outside, each with good examples and the readers to attack."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import threading
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
import yaml
from builders import classification_folders, experiments, genuine_checkpoint, ogg, recordings, shards, tiny_corpus
from builders.hostile import nes2net, onnx_files
from tqdm import tqdm
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from fuzzing import FIXED, Boundary
from fuzzing.arrays import ARRAYS
from fuzzing.mutations import TITLE
from nes2net import Detector, InputError, create_frontend
from nes2net.apps.scale.reading import pieces_of
from nes2net.apps.scale.sources import shards_of
from nes2net.data.audio import read
from nes2net.data.audio.packed import is_there
from nes2net.data.corpora import asvspoof2021_la
from nes2net.data.registry import corpora
from nes2net.lib.storage.unpacking import unpack
from nes2net.metrics.localisation import ScoredUtterance, range_eer, read_rttm
from nes2net.models.checkpoints.averaging import average_checkpoints
from nes2net.models.checkpoints.base import save_base
from nes2net.models.checkpoints.folder import write_tensors
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.scoring.class_file import read_class_table
from nes2net.scoring.decisions import calibration
from nes2net.scoring.decisions.known import KnownThreshold, known_scores, read_known
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.kernel import score_or_raise
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.run import train
from nes2net.training.state import RunState

_TRANSFORMER: dict[str, Any] = {
    "conv_feature_layers": [[16, 16, 8], [16, 4, 4], [16, 4, 4], [16, 4, 2]],
    "encoder_layers": 1,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 16,
    "encoder_attention_heads": 2,
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
tqdm.set_lock(threading.RLock())  # tqdm's own lock, of several processes, would be left over when a process is killed

_SMALL = {"frontend": {"name": "lfcc"}, "aggregation": "last", "backend": {"name": "asp_mlp"}}


def attempt(boundary: str, name: str, folder: Path):
    """Do the attempt ``name`` of a boundary on the folder of an input, without printing anything."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return BOUNDARIES[boundary].attempts[name](folder)


def _info(folder):
    return nes2net("info", folder)


def _info_of_file(folder):
    return nes2net("info", _only_file(folder))


def _load_folder(folder):
    return _score_noise(Detector.from_pretrained(folder, "cpu"))


def _encode(name, folder):
    """Compute a silent second by a front-end from a folder."""
    return create_frontend(name, folder)(torch.zeros(1, 8000))[-1].sum()


def _only_file(folder):
    (path,) = (path for path in folder.iterdir() if path.name != FIXED)
    return path


def _new_path(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True)
    return path


def _small_detector():
    torch.manual_seed(0)
    return Detector.from_config(_SMALL).eval()


def _make_checkpoints(folder):
    detector = _small_detector()
    detector.save(_new_path(folder, "zip/d.pth"))
    weights = detector.state_dict()
    torch.save(weights, _new_path(folder, "legacy/d.pth"), _use_new_zipfile_serialization=False)
    torch.save({"model": weights, "epoch": 3, "args": {"lr": 1e-4}}, _new_path(folder, "nested/d.pth"))
    write_tensors(weights, _new_path(folder, "safetensors/d.safetensors"))
    genuine_checkpoint.write(create_frontend("wav2vec2_small", **_TRANSFORMER), _new_path(folder, "fairseq/d.pt"))


def _make_folders(folder):
    _small_detector().save(folder / "detector")


def _make_huggingface(folder):
    """Write folders of a bare network, and of a classifier with the settings of its processor in two files."""
    classification_folders.folder_of("Wav2Vec2", folder / "classifier", do_normalize=False)
    shutil.copytree(folder / "classifier", folder / "wav2vec2")
    Wav2Vec2Model.from_pretrained(folder / "classifier").save_pretrained(folder / "wav2vec2")
    settings = {"feature_extractor": {"do_normalize": True, "sampling_rate": 16000}}
    (folder / "classifier" / "processor_config.json").write_text(json.dumps(settings))


def _make_mel_encoders(folder):
    """Write folders of Whisper and w2v-BERT 2.0."""
    torch.manual_seed(0)
    layers: Any = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads: Any = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 60}
    tokens: Any = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    sizes = WhisperConfig(**layers, **heads, **tokens, d_model=16, num_mel_bins=20, max_source_positions=50)
    WhisperForConditionalGeneration(sizes).save_pretrained(folder / "whisper")
    WhisperFeatureExtractor(feature_size=20, chunk_length=1).save_pretrained(folder / "whisper")
    shape: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    Wav2Vec2BertModel(Wav2Vec2BertConfig(**shape, conv_depthwise_kernel_size=5)).save_pretrained(folder / "w2v_bert2")
    SeamlessM4TFeatureExtractor().save_pretrained(folder / "w2v_bert2")


def _make_adapted(folder):
    torch.manual_seed(0)
    frontend = {"name": "wav2vec2", **_TRANSFORMER, "adapt": {"kind": "lora", "rank": 2}}
    detector = Detector.from_config({**_SMALL, "frontend": frontend})
    save_base(detector, _new_path(folder, "lora/base.pth"))
    detector.save(folder / "lora" / "lora.pth")


def _make_onnx(folder):
    onnx_files.write(_new_path(folder, "inside/m.onnx").parent, onnx_files.good())
    beside = _new_path(folder, "beside/m.onnx").parent
    model = onnx_files.good({**onnx_files.DESCRIPTION, "external_data": onnx_files.WEIGHTS})
    onnx_files.external(model.graph.initializer[0])
    onnx_files.write(beside, model)
    np.ones(2, np.float32).tofile(beside / onnx_files.WEIGHTS)


def _recipe(folder):
    data = {"corpus": "generic", "root": str(folder / FIXED), "num_workers": 0, "num_samples": 8000}
    training = {"epochs": 2, "batch_size": 4, "lr": 1e-3}
    folders = {"output": str(folder / "models"), "logs": str(folder / "logs")}
    return recipe_from_dict({"name": "tiny", "model": _SMALL, "data": data, "train": training, **folders})


def _make_resume_files(folder):
    run = folder / "run"
    _make_own_corpus(run / FIXED)
    save = RunState.save

    def save_and_keep(state):
        save(state)
        if list(state.selection.folder.glob("epoch_*.pth")) and not (folder / "kept").exists():
            shutil.copytree(state.selection.folder, folder / "kept")

    with mock.patch.object(RunState, "save", save_and_keep):
        run_folder = train(_recipe(run))
    shutil.rmtree(run_folder)
    shutil.rmtree(run / "logs")
    (folder / "kept").rename(run_folder)


def _make_own_corpus(folder):
    tiny_corpus.make_generic(folder, tiny_corpus.labelled_clips(3))
    rows = (folder / "list.csv").read_text().splitlines(keepends=True)
    (folder / "list.csv").unlink()
    for split, split_rows in (("train", rows[:-2]), ("dev", rows), ("eval", rows)):
        (folder / f"{split}.csv").write_text("".join(split_rows))


def _make_recipes(folder):
    for name in ("asvspoof2019_nes2net_x", "asvspoof5_nes2net_x"):
        text = yaml.safe_dump(load_recipe(name).to_dict(), sort_keys=False)
        _new_path(folder, f"{name}/recipe.yaml").write_text(text)
    _new_path(folder, "short/recipe.yaml").write_text(
        "model: {frontend: lfcc, backend: {name: asp_mlp, hidden_dim: 8}}\ntrain: &t {lr: 1e-4}\n"
    )


def _calibrate(folder):
    loaded = calibration.load(folder / "calibration.json")
    if loaded.population is not None:
        traits = Traits(1.0, -30.0, 4e3, np.zeros(3) if loaded.population.has_embeddings else None)
        typicality = loaded.population.typicality(traits)
        assert 0 < typicality.p_value <= 1
        assert typicality.reason
    applied = ("calibrate", "apply", folder / "calibration.json", folder / "scores.txt")
    return nes2net(*applied, "--out", folder / "out.txt")


def _make_experiments(folder):
    slurm = {"partition": "gpu", "more": {"account": "speech"}}
    experiments.experiment_file(folder / "tiny", Path("nowhere"), grid={"train.weight_decay": [0.1, 0.01]}, slurm=slurm)


def _make_archives(folder):
    members = {"set/a.flac": bytes(range(256)) * 40, "set/list.txt": b"a bonafide\n"}
    with zipfile.ZipFile(_new_path(folder, "zip/a.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    modes: Any = {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}
    for suffix, mode in modes.items():
        form = tarfile.GNU_FORMAT if mode == "w" else tarfile.PAX_FORMAT
        with tarfile.open(_new_path(folder, f"{suffix}/a.{suffix}"), mode, format=form) as archive:
            for name, content in {**members, f"set/{'long' * 40}.txt": b"b spoof\n"}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                entry.mtime = 0.5
                archive.addfile(entry, io.BytesIO(content))


def _make_segments(folder):
    rttm = "".join(f"SPEAKER u{n} 1 {n / 4:.2f} 0.50 <NA> <NA> spoof <NA> <NA>\n" for n in range(4))
    _new_path(folder, "rttm/a.rttm").write_text(rttm)
    rows = "".join(f"u{u} {t} {(u - t) / 7:.3f}\n" for u in range(3) for t in range(20))
    _new_path(folder, "frames/a.txt").write_text(rows)


def _make_classes(folder):
    rows = "".join(f"u{n}\t{n / 7:.3f}\t{-n / 3:.3f}\t0.5\n" for n in range(20))
    _new_path(folder, "logits/a.tsv").write_text(f"utterance\tvits\ttacotron 2\tbark\n{rows}")
    known_file = KnownThreshold(classes=("vits", "bark"), kind="energy", scores=(0.5, 1.0, 2.0))
    _new_path(folder, "known/a.json").write_text(known_file.model_dump_json())


def _range_eers(folder):
    utterances = read_rttm(_only_file(folder)).values()
    return [range_eer([ScoredUtterance([1.0, -1.0], segments, 4.0)], 1000).eer for segments in utterances]


def _make_lists(folder):
    corpus = tiny_corpus.make_all(folder / "corpora")
    ids = [trial.id for trial in asvspoof2021_la.CORPUS.keys(corpus / "keys")]
    scores = "".join(f"{id} {number / 7:.4f}\n" for number, id in enumerate(ids))
    shutil.copytree(corpus / "keys" / "LA", folder / "asvspoof2021_la" / "keys" / "LA")
    (folder / "asvspoof2021_la" / "scores.txt").write_text(scores)
    for name, file in (
        ("asvspoof2019_la", "ASVspoof_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"),
        ("asvspoof2021_df", "keys/DF/CM/trial_metadata.txt"),
        ("in_the_wild", "release_in_the_wild/meta.csv"),
        ("generic", "list.csv"),
    ):
        shutil.copy(corpus / file, _new_path(folder, f"{name}/{Path(file).name}"))
    fitted = _new_path(folder, "calibration/calibration.json")
    rng = np.random.default_rng(0)
    traits = [Traits(2.0 + i, -20.0, 7e3 + i, rng.normal(0, 1, 3)) for i in range(12)]
    replace(
        calibration.fit(np.arange(5.0) + 1, np.arange(5.0) - 2),
        scored_by=calibration.ScoredBy("0f" * 32, "float32", 64600),
        population=Population.fit(traits, [i % 2 == 0 for i in range(12)]),
    ).save(fitted)
    (fitted.parent / "scores.txt").write_text(scores)
    clips = _new_path(folder, f"scored/{FIXED}/list.csv").parent
    _make_own_corpus(clips)
    detector = _small_detector()
    detector.save(clips / "d.pth")
    _score(folder / "scored")
    shutil.rmtree(folder / "corpora")


def _score(folder):
    out = ("--out", folder / "scores.txt", "--workers", 0, "--device", "cpu")
    return nes2net("score", "generic", folder / FIXED, "--split", "eval", "--model", folder / FIXED / "d.pth", *out)


def _make_audio(folder):
    """Write audio in all formats, also chained streams and names that are not UTF-8."""
    tone = recordings.tone()[:8000]
    formats = ["wav PCM_16", "wav PCM_24", "wav FLOAT", "wav ULAW", "wav IMA_ADPCM", "flac PCM_16", "ogg VORBIS"]
    formats += ["ogg OPUS", "mp3 MPEG_LAYER_III", *(f"{name} PCM_16" for name in "aiff au caf w64 rf64".split())]
    for suffix, subtype in map(str.split, formats):
        soundfile.write(_new_path(folder, f"{suffix}_{subtype}/a.{suffix}"), tone, 16000, subtype=subtype)
    for name in ("ogg_VORBIS", "ogg_OPUS", "flac_PCM_16"):
        link = _only_file(folder / name)
        _new_path(folder, f"{name}_chain/{link.name}").write_bytes(2 * link.read_bytes())
        not_utf_8 = os.fsdecode(b"caf\xe9")
        _new_path(folder, f"{name}_name/{not_utf_8}{link.suffix}").write_bytes(link.read_bytes())
    for subtype in ("VORBIS", "OPUS"):  # of several pages
        soundfile.write(_new_path(folder, f"pages_{subtype}/a.ogg"), recordings.noise(64000), 16000, subtype=subtype)
    opus = _only_file(folder / "ogg_OPUS").read_bytes()
    _new_path(folder, "opus_later/a.opus").write_bytes(ogg.begun_later(opus, 480_000))
    recordings.encode(_new_path(folder, "xing/a.mp3"), tone, "libmp3lame", quality=4, title=TITLE)
    formats = ["webm libopus", "mkv flac", "m4a aac", "mov aac", "avi pcm_s16le", "flv aac", "wv wavpack", "tta tta"]
    for suffix, codec in map(str.split, formats):
        sample_format = {"aac": "fltp", "libopus": "flt", "wavpack": "s16p"}.get(codec, "s16")
        path = _new_path(folder, f"{suffix}/a.{suffix}")
        recordings.encode(path, tone, codec, sample_format, title=TITLE)


def _read_alike(folder):
    path = _only_file(folder)
    whole = read.load_audio(path)
    np.testing.assert_allclose(np.concatenate([*read.stream_audio(path)]), whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(read.load_audio(path, 4000), whole[:4000], rtol=0, atol=1e-5)
    return len(whole)


def _make_shards(folder):
    tone = io.BytesIO()
    soundfile.write(tone, recordings.tone()[:4000], 16000, format="FLAC")
    content = tone.getvalue()
    notes = '{"utterance_id": "%s", "speaker": "s", "attack": "A07"}'
    paths = [f"{name}.flac" for name in "abcd"]
    columns = {"path": paths, "label": [0, 1, 0, 1], "audio": [(content, path) for path in paths]}
    columns["notes"] = [notes % name for name in "abcd"]
    rows = shards.table(columns)
    shards.write_parquet(_new_path(folder, "parquet/test-0.parquet"), rows)
    shards.write_arrow(_new_path(folder, "stream/data-0.arrow"), rows)
    shards.write_arrow(_new_path(folder, "file/data-0.arrow"), rows, stream=False)
    contents = {"flac": content, "json": b'{"label": 1}'}
    members = {f"{name}.{kind}": contents[kind] for name in "ab" for kind in contents}
    shards.write_tar(_new_path(folder, "tar/test-0.tar"), members)
    options = {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 1000}
    shards.pq.write_table(_with_more_columns(rows), _new_path(folder, "varied/test-0.parquet"), **options)
    with shards.pa.OSFile(str(_new_path(folder, "lz4/data-0.arrow")), "wb") as sink:
        form = shards.pa.ipc.IpcWriteOptions(compression="lz4")
        with shards.pa.ipc.new_stream(sink, _with_more_columns(rows).schema, options=form) as writer:
            writer.write_table(_with_more_columns(rows), 2)


def _with_more_columns(rows):
    arrow = shards.pa
    words = arrow.array(["x", "y", None, "x"]).dictionary_encode()
    nested = arrow.array([[{"a": [1]}], [], None, [{"a": []}]])
    for name, column in (("room", words), ("nested", nested), ("null", arrow.nulls(4))):
        rows = rows.append_column(name, column)
    return rows


def _read_pieces(folder):
    pieces = list(pieces_of(shards_of(_only_file(folder))[0], 2, 1))
    if pieces[-1].fault:
        raise InputError(pieces[-1].fault)
    return sum(len(piece.rows) for piece in pieces)


def _read_shard(folder):
    trials = corpora.get("shards").trials(folder)
    return sum(len(read.load_audio(trial.audio_path())) for trial in trials)


def _read_rows(folder):
    """Decode the first recordings of a shard, without its list of trials."""
    shard = _only_file(folder)
    names = ("a.flac", "b.flac") if shard.suffix == ".tar" else ("0", "1", "3")
    return sum(len(read.load_audio(shard / name)) for name in names if is_there(shard / name))


def _merge(folder):
    return nes2net("export", folder / "lora.pth", "--to", "merged", "--out", folder / "merged.pth")


def _train_without_data(folder):
    return nes2net("train", _only_file(folder), "data.root=nowhere", f"output={folder}/models")


def _score_noise(detector):
    return score_or_raise(detector, 0.1 * torch.ones(1, max(8000, detector.min_samples)))


def _average(folder):
    path = _only_file(folder)
    copy = shutil.copy(path, folder / "copy.pth")
    save_state_dict(average_checkpoints([path, copy]), folder / "mean.pth")


def _read_keys(folder):
    """Read the only list of an example; the example has the name of its corpus."""
    corpus = corpora.get(folder.name)
    return len(corpus.keys(_only_file(folder), None))


def _evaluate(folder):
    out = ("--html", folder / "page.html", "--json", folder / "figures.json", "--resamples", 5)
    return nes2net("evaluate", "asvspoof2021_la", folder / "scores.txt", "--keys", folder / "keys", *out)


BOUNDARIES = {
    "checkpoint": Boundary(
        _make_checkpoints,
        {
            "info": _info_of_file,
            "load": lambda folder: _score_noise(Detector.from_pretrained(_only_file(folder), "cpu", config=_SMALL)),
            "front-end": lambda folder: create_frontend("wav2vec2", _only_file(folder)).config,
            "average": _average,
        },
        {
            "fairseq": ("info", "front-end"),
            **dict.fromkeys(("zip", "legacy", "nested", "safetensors"), ("info", "load", "average")),
        },
    ),
    "detector folder": Boundary(
        _make_folders,
        {"info": _info, "load": _load_folder},
    ),
    "Hugging Face folder": Boundary(
        _make_huggingface,
        {
            "info": _info,
            "front-end": partial(_encode, "wav2vec2"),
            "load": _load_folder,
        },
        {"wav2vec2": ("info", "front-end"), "classifier": ("info", "front-end", "load")},
    ),
    "mel encoder": Boundary(
        _make_mel_encoders,
        {
            "info": _info,
            "whisper": partial(_encode, "whisper"),
            "w2v_bert2": partial(_encode, "w2v_bert2"),
        },
        {"whisper": ("info", "whisper"), "w2v_bert2": ("info", "w2v_bert2")},
    ),
    "adapted detector": Boundary(
        _make_adapted,
        {
            "info": lambda folder: nes2net("info", folder / "lora.pth"),
            "load": lambda folder: _score_noise(Detector.from_pretrained(folder / "lora.pth", "cpu")),
            "merge": _merge,
        },
    ),
    "ONNX file": Boundary(
        _make_onnx,
        {
            "info": lambda folder: nes2net("info", folder / "m.onnx"),
            "score": lambda folder: onnx_files.score(folder / "m.onnx"),
        },
    ),
    "resume file": Boundary(
        _make_resume_files,
        {
            "info": lambda folder: nes2net("info", next(folder.glob("models/*")) / "resume.pt"),
            "train": lambda folder: train(_recipe(folder)),
            "average": lambda folder: nes2net("average", *folder.glob("models/*"), "--last", 1),
        },
    ),
    "recipe": Boundary(
        _make_recipes,
        {
            "read": lambda folder: load_recipe(_only_file(folder)).tag,
            "train": _train_without_data,
        },
    ),
    "experiment": Boundary(
        _make_experiments,
        {"plan": lambda folder: nes2net("experiment", "run", _only_file(folder), "--dry-run", "--out", folder / "out")},
    ),
    "archive": Boundary(
        _make_archives, {"unpack": lambda folder: unpack(_only_file(folder), folder / "out", "unpacking")}
    ),
    "segments": Boundary(
        _make_segments,
        {
            "ranges": _range_eers,
            "frames": lambda folder: list(read_segment_scores(_only_file(folder))),
        },
        {"rttm": ("ranges",), "frames": ("frames",)},
    ),
    "classes": Boundary(
        _make_classes,
        {
            "logits": lambda folder: known_scores(read_class_table(_only_file(folder)).logits).tolist(),
            "known": lambda folder: read_known(_only_file(folder), ("vits", "bark")).threshold,
        },
        {"logits": ("logits",), "known": ("known",)},
    ),
    "list": Boundary(
        _make_lists,
        {
            "evaluate": _evaluate,
            "keys": _read_keys,
            "calibrate": _calibrate,
            "score": _score,
        },
        {
            "asvspoof2021_la": ("evaluate",),
            "calibration": ("calibrate",),
            "scored": ("score",),
            **dict.fromkeys(("asvspoof2019_la", "asvspoof2021_df", "in_the_wild", "generic"), ("keys",)),
        },
    ),
    "audio": Boundary(
        _make_audio,
        {
            "whole": lambda folder: len(read.load_audio(_only_file(folder))),
            "stream": lambda folder: sum(map(len, read.stream_audio(_only_file(folder)))),
            "head": lambda folder: len(read.load_audio(_only_file(folder), 4000)),
            "excerpt": lambda folder: len(read.load_audio(_only_file(folder), 2000, 1000)),
            "count": lambda folder: read.count_samples(_only_file(folder)),
            "decode": lambda folder: recordings.measure_audio(_only_file(folder)).sample_rate,
            "alike": _read_alike,
        },
    ),
    "shard": Boundary(
        _make_shards,
        {
            "trials": _read_shard,
            "rows": _read_rows,
            "data check": lambda folder: nes2net("data", "check", "shards", folder),
            "pieces": _read_pieces,
        },
    ),
}
BOUNDARIES |= ARRAYS
if not onnx_files.CASES:  # the extra onnx is not installed
    del BOUNDARIES["ONNX file"]
