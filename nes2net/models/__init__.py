"""The network of a detector, and its files.

In reading order: ``registry`` builds parts by name. The parts are ``frontends``, ``aggregations``
and ``backends``. ``network`` joins the parts. ``checkpoints`` reads and writes tensors in files.
``loading``, ``fitting`` and ``weights_known`` make a network from a file. ``published_models`` and
``catalogue`` list published detectors, and ``published_results`` lists the published figures of
these detectors. Special detectors are in ``quantisation``, ``distillation`` and ``onnx_detector``.

These modules import nothing from the other packages of nes2net, except from ``lib`` and ``data``.
"""
