"""Small Hugging Face folders of wav2vec 2.0, HuBERT and WavLM with a classification head, saved by the library."""

import numpy as np
import torch

#: Noise to score, (N,).
WAVEFORM = (0.01 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
KINDS = ("Wav2Vec2", "Hubert", "WavLM")
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}


def folder_of(kind, folder, labels=("real", "fake"), do_normalize=True, **options):
    """A folder that the library saves, and the model with random weights."""
    import transformers  # optional

    torch.manual_seed(0)
    names = dict(enumerate(labels))
    numbers = {name: number for number, name in names.items()}
    config = getattr(transformers, f"{kind}Config")(**SMALL, id2label=names, label2id=numbers, **options)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    if config.use_weighted_layer_sum:
        torch.nn.init.normal_(model.layer_weights)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return model
