"""The network of a detector, and its files.

In reading order: ``frontends``, ``aggregations`` and ``backends``, each a part by name
(``registry``); ``network``, which joins them; ``checkpoints``, the tensors in files; ``loading``,
``fitting`` and ``weights_known``, which make a network of a file; ``catalogue`` and
``published_models``, the detectors that are fetched by name, and ``published_results``; then
``quantisation``, ``distillation`` and ``onnx_detector``.

Imports ``lib`` and ``data``.
"""
