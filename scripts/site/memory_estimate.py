"""Estimate the memory that the training of a recipe takes, with fake tensors: no GPU is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.detector import Detector
from nes2net.training.losses.by_name import with_head
from nes2net.training.objective import StepPart
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.start import with_adaptation
from nes2net.training.tasks.task import create_task

_REDUCED_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a training step takes on its device.

    Three kinds of memory are not counted: the memory of libraries (about 1 GB for CUDA), temporary
    memory of kernels, and memory that the allocator cannot reuse.
    """

    trained: int
    """Number of trained parameters."""
    weights: int
    """Bytes of all weights and buffers in float32, whether they are trained or not."""
    optimizer: int
    """Bytes of the gradients of the trained parameters, and of Adam's averages."""
    activations: int
    """Bytes of tensors that the forward pass keeps for the backward pass. A forward pass takes one of
    the `train.accumulate` parts of a batch. With reduced precision, these tensors include copies of
    the weights in this precision."""

    @property
    def total(self) -> int:
        """Sum of the weights, the optimizer's tensors and the activations in bytes."""
        return self.weights + self.optimizer + self.activations


def training_memory(recipe: Recipe) -> TrainingMemory:
    """Estimate the memory of a training step of ``recipe`` on one device.

    The forward pass is computed with tensors that have shapes but no numbers. The tensors that
    automatic differentiation keeps for the backward pass are counted, each storage once. With
    ``train.activation_checkpointing``, the count consists of the inputs of all transformer layers
    and the inner tensors of the largest layer. **This is not a measurement**: the log of a training
    on CUDA has the measured peak.
    """
    train = recipe.train
    with torch.device("meta"):
        task = create_task(recipe)
        objective = task.objective(
            Detector.from_config(with_head(with_adaptation(recipe.model, train.adapt), train.loss))
        )
    reduced = _REDUCED_TYPES.get(train.precision)
    without_numbers: Any = torch.device("meta")
    if reduced is not None:
        without_numbers = FakeTensorMode()
    with without_numbers:
        if reduced is not None:  # the meta device has no autocast, so replace its tensors by fake tensors of the CPU
            replaced = {}

            def without_numbers_of(tensor: Tensor) -> Tensor:
                if id(tensor) not in replaced:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    replaced[id(tensor)] = empty
                    if is_parameter:
                        replaced[id(tensor)] = nn.Parameter(empty, tensor.requires_grad)
                return replaced[id(tensor)]

            for module in objective.modules():
                for tensors in (module._parameters, module._buffers):
                    tensors |= {
                        name: without_numbers_of(tensor) for name, tensor in tensors.items() if tensor is not None
                    }
        detector = objective.detector
        weights = _total_bytes([*detector.parameters(), *detector.buffers()])
        parameters = objective.trained_parameters()
        trained = sum(parameter.numel() for parameter in parameters)
        if train.optimizer == "logistic":  # logistic regression has no steps and no gradients
            return TrainingMemory(trained, weights, 0, 0)
        num_copies = 4 if train.amsgrad else 3  # each as large as the trained weights: gradient, Adam's averages
        batch_size = -(-train.batch_size // train.accumulate)
        waveforms = torch.zeros(batch_size, recipe.data.num_samples or ASVSPOOF_SAMPLES)
        trial = Trial("any", label=BONAFIDE, system_scores=(0.0,) * detector.num_scores)
        extra_tensors = {name: torch.stack([value] * batch_size) for name, value in task.extra_tensors(trial).items()}
        batch = StepPart(waveforms, torch.zeros(batch_size, dtype=torch.long), extra_tensors)
        objective.begin_training(train.freeze_frontend_epochs + 1)
        layers = detector.frontend.transformer_layers if train.activation_checkpointing else ()
        with torch.autocast("cpu", reduced, enabled=reduced is not None):
            activations = _activation_bytes(
                objective, layers, lambda: objective.compute_outputs(objective.features(waveforms), batch)
            )
        return TrainingMemory(trained, weights, num_copies * _total_bytes(parameters), activations)


def _total_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _activation_bytes(module: nn.Module, recomputed: Sequence[nn.Module], forward: Callable[[], object]) -> int:
    """Call ``forward``, and return the number of bytes that the call keeps for the backward pass.

    Args:
        module: module whose parameters are not counted.
        recomputed: layers whose activations are computed again in the backward pass. All inputs of
            these layers are counted, but tensors inside a layer only for the largest layer.
    """
    counted_storages = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    storages = []
    sizes = [0]  # sizes[0]: bytes kept outside of the layers; sizes[i]: bytes kept by layer i

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counted_storages:
            counted_storages.add(storage._cdata)
            storages.append(storage)  # hold a reference, so that no other storage gets this address
            sizes[current_layer[0]] += storage.nbytes()
        return tensor

    current_layer = [0]  # index in `sizes` of the layer that computes now; a list, so that functions can change it
    inputs = []
    hooks = []

    def enter(_: nn.Module, arguments: tuple) -> None:
        inputs.append(arguments[0].nbytes)
        sizes.append(0)
        current_layer[0] = len(sizes) - 1

    def leave(*_: object) -> None:
        current_layer[0] = 0

    for layer in recomputed:
        hooks += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    for hook in hooks:
        hook.remove()
    return sizes[0] + sum(inputs) + max(sizes[1:], default=0)
