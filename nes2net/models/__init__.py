"""The network of a detector, and its files.

In reading order: ``frontends``, ``aggregations`` and ``backends`` are the parts, built by name
(``registry``); ``network`` joins them; ``checkpoints`` reads and writes tensors in files;
``loading``, ``fitting`` and ``weights_known`` make a network from a file; ``published_models`` is
the table of published detectors, ``catalogue`` lists those that can be downloaded, and
``published_results`` has the published figures; then ``quantisation``, ``distillation`` and
``onnx_detector``.

Imports ``lib`` and ``data``.
"""
