"""The network of a detector, and its files.

In reading order: ``registry`` builds parts by name: ``frontends``, ``aggregations`` and
``backends``. ``network`` joins the parts. ``checkpoints`` reads and writes tensors. ``loading``,
``fitting`` and ``weights_known`` make a network from a file. ``published_models``, ``catalogue``
and ``published_results`` list published detectors and figures. Special detectors are in
``quantisation``, ``distillation`` and ``onnx_detector``. ``attacks`` makes them fail.

Of the other packages of nes2net, only ``lib`` and ``data`` are imported.
"""
