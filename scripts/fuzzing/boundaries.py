"""The boundaries: every kind of file that comes from outside, with good examples and what reads them."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import threading
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
import yaml
from builders import experiments, genuine_checkpoint, recordings, shards, tiny_corpus
from builders.hostile import nes2net, onnx_files
from tqdm import tqdm
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from fuzzing import FIXED, Boundary
from nes2net import Detector, InputError, create_frontend
from nes2net.apps.scale.reading import pieces_of
from nes2net.apps.scale.sources import shards_of
from nes2net.data.audio import read
from nes2net.data.audio.packed import is_there
from nes2net.data.corpora import asvspoof2021_la
from nes2net.evaluation.classes import KnownFile, read_known
from nes2net.lib.unpacking import unpack
from nes2net.metrics.localisation import ScoredUtterance, range_eer, read_rttm
from nes2net.models import registry
from nes2net.models.checkpoints.averaging import average_checkpoints
from nes2net.models.checkpoints.folder import write_tensors
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.scoring.class_file import read_class_table
from nes2net.scoring.decisions import calibration
from nes2net.scoring.decisions.known import known_scores
from nes2net.scoring.decisions.population import Population, Traits
from nes2net.scoring.kernel import score_or_raise
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.run import train
from nes2net.training.state import RunState

_TRANSFORMER = {
    "conv_feature_layers": [[16, 16, 8], [16, 4, 4], [16, 4, 4], [16, 4, 2]],
    "encoder_layers": 1,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 16,
    "encoder_attention_heads": 2,
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
tqdm.set_lock(threading.RLock())  # the lock that it would make is left over when a process is killed

_SMALL = {"frontend": {"name": "lfcc"}, "aggregation": "last", "backend": {"name": "asp_mlp"}}


def attempt(boundary: str, name: str, folder: Path) -> Any:
    """Do with a folder what the attempt ``name`` does, without a word."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return BOUNDARIES[boundary].attempts[name](folder)


def _only(folder: Path) -> Path:
    """The one file of an example."""
    (path,) = (path for path in folder.iterdir() if path.name != FIXED)
    return path


def _make(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True)
    return path


def _small_detector() -> Detector:
    torch.manual_seed(0)
    return Detector.from_config(_SMALL).eval()


def _checkpoints(folder: Path) -> None:
    detector = _small_detector()
    detector.save(_make(folder, "zip/d.pth"))
    weights = detector.state_dict()
    torch.save(weights, _make(folder, "legacy/d.pth"), _use_new_zipfile_serialization=False)
    torch.save({"model": weights, "epoch": 3, "args": {"lr": 1e-4}}, _make(folder, "nested/d.pth"))
    write_tensors(weights, _make(folder, "safetensors/d.safetensors"))
    genuine_checkpoint.write(create_frontend("wav2vec2_small", **_TRANSFORMER), _make(folder, "fairseq/d.pt"))


def _folders(folder: Path) -> None:
    _small_detector().save(folder / "detector")


def _huggingface(folder: Path) -> None:
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16, 16),
        conv_kernel=(100, 8),
        conv_stride=(32, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    torch.manual_seed(0)
    Wav2Vec2Model(config).save_pretrained(folder / "wav2vec2")
    config.id2label = {0: "fake", 1: "real"}
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder / "classifier")
    for name in ("wav2vec2", "classifier"):
        (folder / name / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')


def _mel_encoders(folder: Path) -> None:
    """Folders of Whisper and w2v-BERT 2.0, and Whisper as OpenAI's file."""
    torch.manual_seed(0)
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 60}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    sizes = WhisperConfig(**layers, **heads, **tokens, d_model=16, num_mel_bins=20, max_source_positions=50)
    WhisperForConditionalGeneration(sizes).save_pretrained(folder / "whisper")
    WhisperFeatureExtractor(feature_size=20, chunk_length=1).save_pretrained(folder / "whisper")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    Wav2Vec2BertModel(Wav2Vec2BertConfig(**shape, conv_depthwise_kernel_size=5)).save_pretrained(folder / "w2v_bert2")
    SeamlessM4TFeatureExtractor().save_pretrained(folder / "w2v_bert2")


def _adapted(folder: Path) -> None:
    """A detector with LoRA, and the base of its front-end beside it."""
    torch.manual_seed(0)
    frontend = {"name": "wav2vec2", **_TRANSFORMER, "adapt": {"kind": "lora", "rank": 2}}
    detector = Detector.from_config({**_SMALL, "frontend": frontend})
    detector.save_base(_make(folder, "lora/base.pth"))
    detector.save(folder / "lora" / "lora.pth")


def _onnx(folder: Path) -> None:
    onnx_files.write(_make(folder, "inside/m.onnx").parent, onnx_files.good())
    beside = _make(folder, "beside/m.onnx").parent
    model = onnx_files.good({**onnx_files.DESCRIPTION, "external_data": onnx_files.WEIGHTS})
    onnx_files.external(model.graph.initializer[0])
    onnx_files.write(beside, model)
    np.ones(2, np.float32).tofile(beside / onnx_files.WEIGHTS)


def _recipe(folder: Path) -> Recipe:
    return recipe_from_dict(
        {
            "name": "tiny",
            "output": str(folder / "models"),
            "logs": str(folder / "logs"),
            "model": _SMALL,
            "data": {"corpus": "generic", "root": str(folder / FIXED), "num_workers": 0, "num_samples": 8000},
            "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
        }
    )


def _resume_files(folder: Path) -> None:
    """The folder of a run of two epochs as it is after the first."""
    run = folder / "run"
    _own_corpus(run / FIXED)
    save = RunState.save

    def save_and_keep(state: RunState) -> None:
        save(state)
        if list(state.selection.folder.glob("epoch_*.pth")) and not (folder / "kept").exists():
            shutil.copytree(state.selection.folder, folder / "kept")

    with mock.patch.object(RunState, "save", save_and_keep):
        where = train(_recipe(run))
    shutil.rmtree(where)
    shutil.rmtree(run / "logs")
    (folder / "kept").rename(where)


def _own_corpus(folder: Path) -> None:
    tiny_corpus.make_generic(folder, tiny_corpus.labelled_clips(None, 3))
    rows = (folder / "list.csv").read_text().splitlines(keepends=True)
    (folder / "list.csv").unlink()
    for split, chosen in (("train", rows[:-2]), ("dev", rows), ("eval", rows)):
        (folder / f"{split}.csv").write_text("".join(chosen))


def _recipes(folder: Path) -> None:
    for name in ("asvspoof2019_nes2net_x", "asvspoof5_nes2net_x"):
        text = yaml.safe_dump(load_recipe(name).to_dict(), sort_keys=False)
        _make(folder, f"{name}/recipe.yaml").write_text(text)
    _make(folder, "short/recipe.yaml").write_text(
        "model: {frontend: lfcc, backend: {name: asp_mlp, hidden_dim: 8}}\ntrain: &t {lr: 1e-4}\n"
    )


def _calibrate(folder: Path) -> Any:
    """Apply a calibration, and compare a recording with those that it holds."""
    held = calibration.load(folder / "calibration.json")
    if held.population is not None:
        found = held.population.typicality(
            Traits(1.0, -30.0, 4e3, np.zeros(3) if held.population.has_embeddings else None)
        )
        assert 0 < found.p_value <= 1 and found.reason
    applied = ("calibrate", "apply", folder / "calibration.json", folder / "scores.txt")
    return nes2net(*applied, "--out", folder / "out.txt")


def _experiments(folder: Path) -> None:
    slurm = {"partition": "gpu", "more": {"account": "speech"}}
    experiments.experiment_file(folder / "tiny", Path("nowhere"), grid={"train.weight_decay": [0.1, 0.01]}, slurm=slurm)


def _archives(folder: Path) -> None:
    members = {"set/a.flac": bytes(range(256)) * 40, "set/list.txt": b"a bonafide\n"}
    with zipfile.ZipFile(_make(folder, "zip/a.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    for mode, form in (("w", tarfile.GNU_FORMAT), ("w:gz", tarfile.PAX_FORMAT), ("w:xz", tarfile.PAX_FORMAT)):
        suffix = f"tar{mode[1:].replace(':', '.')}"
        with tarfile.open(_make(folder, f"{suffix}/a.{suffix}"), mode, format=form) as archive:
            for name, content in {**members, f"set/{'long' * 40}.txt": b"b spoof\n"}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                entry.mtime = 0.5
                archive.addfile(entry, io.BytesIO(content))


def _segments(folder: Path) -> None:
    """Segments of utterances, labels of Audacity, and scores of frames."""
    rttm = "".join(f"SPEAKER u{n} 1 {n / 4:.2f} 0.50 <NA> <NA> spoof <NA> <NA>\n" for n in range(4))
    _make(folder, "rttm/a.rttm").write_text(rttm)
    rows = "".join(f"u{u} {t} {(u - t) / 7:.3f}\n" for u in range(3) for t in range(20))
    _make(folder, "frames/a.txt").write_text(rows)


def _classes(folder: Path) -> None:
    """Logits of classes, and scores of known trials."""
    rows = "".join(f"u{n}\t{n / 7:.3f}\t{-n / 3:.3f}\t0.5\n" for n in range(20))
    _make(folder, "logits/a.tsv").write_text(f"utterance\tvits\ttacotron 2\tbark\n{rows}")
    known = KnownFile(classes=("vits", "bark"), kind="energy", scores=(0.5, 1.0, 2.0))
    _make(folder, "known/a.json").write_text(known.model_dump_json())


def _ranges(folder: Path) -> list[float]:
    found = read_rttm(_only(folder)).values()
    return [range_eer([ScoredUtterance([1.0, -1.0], segments, 4.0)], 1000).eer for segments in found]


def _lists(folder: Path) -> None:
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
        shutil.copy(corpus / file, _make(folder, f"{name}/{Path(file).name}"))
    fitted = _make(folder, "calibration/calibration.json")
    rng = np.random.default_rng(0)
    traits = [Traits(2.0 + i, -20.0, 7e3 + i, rng.normal(0, 1, 3)) for i in range(12)]
    replace(
        calibration.fit(np.arange(5.0) + 1, np.arange(5.0) - 2),
        scored_by=calibration.ScoredBy("0f" * 32, "float32", 64600),
        population=Population.fit(traits, [i % 2 == 0 for i in range(12)]),
    ).save(fitted)
    (fitted.parent / "scores.txt").write_text(scores)
    clips = _make(folder, f"scored/{FIXED}/list.csv").parent
    _own_corpus(clips)
    detector = _small_detector()
    detector.save(clips / "d.pth")
    _score(folder / "scored")
    shutil.rmtree(folder / "corpora")


def _score(folder: Path) -> str:
    """Score a corpus into a file, which may be finished already."""
    out = ("--out", folder / "scores.txt", "--workers", 0, "--device", "cpu")
    return nes2net("score", "generic", folder / FIXED, "--split", "eval", "--model", folder / FIXED / "d.pth", *out)


def _audio(folder: Path) -> None:
    tone = recordings.tone()[:8000]
    for suffix, subtype in (
        *(("wav", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM")),
        *(("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III")),
        *(("aiff", "PCM_16"), ("au", "PCM_16"), ("caf", "PCM_16"), ("w64", "PCM_16"), ("rf64", "PCM_16")),
    ):
        soundfile.write(_make(folder, f"{suffix}_{subtype}/a.{suffix}"), tone, 16000, subtype=subtype)
    for name in ("ogg_VORBIS", "ogg_OPUS", "flac_PCM_16"):
        link = _only(folder / name)
        _make(folder, f"{name}_chain/{link.name}").write_bytes(2 * link.read_bytes())
        # bytes that are not UTF-8
        _make(folder, os.fsdecode(f"{name}_name/caf".encode() + b"\xe9" + link.suffix.encode())).write_bytes(
            link.read_bytes()
        )
    recordings.encode(_make(folder, "xing/a.mp3"), tone, "libmp3lame", quality=4)
    for suffix, codec in (("webm", "libopus"), ("mkv", "flac"), ("m4a", "aac"), ("avi", "pcm_s16le"), ("flv", "aac")):
        sample_format = {"flac": "s16", "pcm_s16le": "s16", "libopus": "flt"}.get(codec, "fltp")
        recordings.encode(_make(folder, f"{suffix}/a.{suffix}"), tone, codec, sample_format)


def _shards(folder: Path) -> None:
    tone = io.BytesIO()
    soundfile.write(tone, recordings.tone()[:4000], 16000, format="FLAC")
    content = tone.getvalue()
    notes = '{"utterance_id": "%s", "speaker": "s", "attack": "A07"}'
    rows = shards.table(
        {
            "path": [f"{name}.flac" for name in "abcd"],
            "audio": [(content, f"{name}.flac") for name in "abcd"],
            "label": [0, 1, 0, 1],
            "notes": [notes % name for name in "abcd"],
        }
    )
    shards.write_parquet(_make(folder, "parquet/test-0.parquet"), rows)
    shards.write_arrow(_make(folder, "stream/data-0.arrow"), rows)
    shards.write_arrow(_make(folder, "file/data-0.arrow"), rows, stream=False)
    members = {f"{name}.{kind}": of for name in "ab" for kind, of in (("flac", content), ("json", b'{"label": 1}'))}
    shards.write_tar(_make(folder, "tar/test-0.tar"), members)
    options = {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 1000}
    shards.pq.write_table(_varied(rows), _make(folder, "varied/test-0.parquet"), **options)
    with shards.pa.OSFile(str(_make(folder, "lz4/data-0.arrow")), "wb") as sink:
        form = shards.pa.ipc.IpcWriteOptions(compression="lz4")
        with shards.pa.ipc.new_stream(sink, _varied(rows).schema, options=form) as writer:
            writer.write_table(_varied(rows), 2)


def _varied(rows: Any) -> Any:
    """``rows`` with a column of words from a dictionary, one of nested lists, and one of nulls."""
    arrow = shards.pa
    words = arrow.array(["x", "y", None, "x"]).dictionary_encode()
    nested = arrow.array([[{"a": [1]}], [], None, [{"a": []}]])
    for name, column in (("room", words), ("nested", nested), ("null", arrow.nulls(4))):
        rows = rows.append_column(name, column)
    return rows


def _pieces(folder: Path) -> int:
    """Read a shard as a collection does."""
    pieces = list(pieces_of(shards_of(_only(folder))[0], 2, 1))
    if pieces[-1].fault:
        raise InputError(pieces[-1].fault)
    return sum(len(piece.rows) for piece in pieces)


def _read_shard(folder: Path) -> int:
    """List the trials of a shard and decode each."""
    trials = registry.corpora.get("shards").trials(folder)
    return sum(len(read.load_audio(trial.audio_path())) for trial in trials)


def _read_rows(folder: Path) -> int:
    """Decode the first recordings of a shard, whatever it says of its trials."""
    shard = _only(folder)
    names = ("a.flac", "b.flac") if shard.suffix == ".tar" else ("0", "1", "3")
    return sum(len(read.load_audio(shard / name)) for name in names if is_there(shard / name))


def _scored(detector: Any) -> list[float]:
    return score_or_raise(detector, 0.1 * torch.ones(1, max(8000, detector.min_samples)))


def _averaged(folder: Path) -> None:
    path = _only(folder)
    save_state_dict(average_checkpoints([path, path]), folder / "mean.pth")


def _keys(folder: Path) -> int:
    """Read the one list of an example as the corpus that the example is named after."""
    corpus = registry.corpora.get(folder.name)
    return len(corpus.keys(_only(folder), None))


def _evaluated(folder: Path) -> str:
    out = ("--html", folder / "page.html", "--json", folder / "figures.json", "--resamples", 5)
    return nes2net("evaluate", "asvspoof2021_la", folder / "scores.txt", "--keys", folder / "keys", *out)


BOUNDARIES = {
    "checkpoint": Boundary(
        _checkpoints,
        {
            "info": lambda folder: nes2net("info", _only(folder)),
            "load": lambda folder: _scored(Detector.from_pretrained(_only(folder), config=_SMALL, device="cpu")),
            "front-end": lambda folder: create_frontend("wav2vec2", _only(folder)).config,
            "average": _averaged,
        },
        {
            "fairseq": ("info", "front-end"),
            **dict.fromkeys(("zip", "legacy", "nested", "safetensors"), ("info", "load", "average")),
        },
    ),
    "detector folder": Boundary(
        _folders,
        {
            "info": lambda folder: nes2net("info", folder),
            "load": lambda folder: _scored(Detector.from_pretrained(folder, "cpu")),
        },
    ),
    "Hugging Face folder": Boundary(
        _huggingface,
        {
            "info": lambda folder: nes2net("info", folder),
            "front-end": lambda folder: create_frontend("wav2vec2", folder)(torch.zeros(1, 8000))[-1].sum(),
            "load": lambda folder: _scored(Detector.from_pretrained(folder, "cpu")),
        },
        {"wav2vec2": ("info", "front-end"), "classifier": ("info", "front-end", "load")},
    ),
    "mel encoder": Boundary(
        _mel_encoders,
        {
            "info": lambda folder: nes2net("info", folder),
            "whisper": lambda folder: create_frontend("whisper", folder)(torch.zeros(1, 8000))[-1].sum(),
            "w2v_bert2": lambda folder: create_frontend("w2v_bert2", folder)(torch.zeros(1, 8000))[-1].sum(),
        },
        {"whisper": ("info", "whisper"), "w2v_bert2": ("info", "w2v_bert2")},
    ),
    "adapted detector": Boundary(
        _adapted,
        {
            "info": lambda folder: nes2net("info", folder / "lora.pth"),
            "load": lambda folder: _scored(Detector.from_pretrained(folder / "lora.pth", "cpu")),
            "merge": lambda folder: nes2net(
                "export", folder / "lora.pth", "--to", "merged", "--out", folder / "merged.pth"
            ),
        },
    ),
    "ONNX file": Boundary(
        _onnx,
        {
            "info": lambda folder: nes2net("info", folder / "m.onnx"),
            "score": lambda folder: onnx_files.score(folder / "m.onnx"),
        },
    ),
    "resume file": Boundary(
        _resume_files,
        {
            "info": lambda folder: nes2net("info", next(folder.glob("models/*/resume.pt"))),
            "train": lambda folder: train(_recipe(folder)),
            "average": lambda folder: nes2net("average", *folder.glob("models/*"), "--last", 1),
        },
    ),
    "recipe": Boundary(
        _recipes,
        {
            "read": lambda folder: load_recipe(_only(folder)).tag,
            "train": lambda folder: nes2net("train", _only(folder), "data.root=nowhere", f"output={folder}/models"),
        },
    ),
    "experiment": Boundary(
        _experiments,
        {"plan": lambda folder: nes2net("experiment", "run", _only(folder), "--dry-run", "--out", folder / "out")},
    ),
    "archive": Boundary(_archives, {"unpack": lambda folder: unpack(_only(folder), folder / "out", "unpacking")}),
    "segments": Boundary(
        _segments,
        {
            "ranges": _ranges,
            "frames": lambda folder: list(read_segment_scores(_only(folder)).scores),
        },
        {"rttm": ("ranges",), "frames": ("frames",)},
    ),
    "classes": Boundary(
        _classes,
        {
            "logits": lambda folder: known_scores(read_class_table(_only(folder)).logits).tolist(),
            "known": lambda folder: read_known(_only(folder), ("vits", "bark")).threshold,
        },
        {"logits": ("logits",), "known": ("known",)},
    ),
    "list": Boundary(
        _lists,
        {
            "evaluate": _evaluated,
            "keys": _keys,
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
        _audio,
        {
            "whole": lambda folder: len(read.load_audio(_only(folder))),
            "stream": lambda folder: sum(map(len, read.stream_audio(_only(folder)))),
            "head": lambda folder: len(read.load_head(_only(folder), 4000)),
            "excerpt": lambda folder: len(read.load_excerpt(_only(folder), 1000, 2000)),
            "count": lambda folder: read.count_samples(_only(folder)),
            "decode": lambda folder: read.measure_audio(_only(folder)).sample_rate,
        },
    ),
    "shard": Boundary(
        _shards,
        {
            "trials": _read_shard,
            "rows": _read_rows,
            "data check": lambda folder: nes2net("data", "check", "shards", folder),
            "pieces": _pieces,
        },
    ),
}
if not onnx_files.CASES:  # the extra onnx is not installed
    del BOUNDARIES["ONNX file"]
