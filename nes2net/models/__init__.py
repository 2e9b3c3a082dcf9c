"""The network of a detector, and its files.

In reading order:

- ``frontends``, ``aggregations`` and ``backends`` are the parts. ``registry`` builds a part by its
  name;
- ``network`` joins the parts;
- ``checkpoints`` reads and writes tensors in files;
- ``loading``, ``fitting`` and ``weights_known`` make a network from a file;
- ``published_models`` is the table of published detectors, and ``catalogue`` lists those that can
  be downloaded;
- ``published_results`` has the published figures;
- ``quantisation``, ``distillation`` and ``onnx_detector`` are special detectors.

Imports ``lib`` and ``data``.
"""
