"""Let a part compute tiny batches before it is used, and compare what it does with its contract."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.lib.errors import InputError
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.lib.parts.process_state import same_process_state

#: A larger part is tried only on one length, with parameters that are not copied and get no gradient.
MAX_PARAMETERS = 10_000_000
#: What has passed: the part in words, its class, and how it is built.
_PASSED: set[Any] = set()
_SEED = 93  # of tiny batches; a part that seeds is likely to use another seed


class TinyBatch(NamedTuple):
    """A tiny input of a part, and how the part computes with it."""

    #: the method that computes, for messages
    method: str
    #: tensors with a row for each utterance
    inputs: list[Tensor]
    #: (check, part, inputs) → outputs, whose shapes it checks
    compute: Callable[..., list[Tensor]]
    #: outputs for single rows → output for the batch; None if rows are no utterances
    join: Callable[..., Tensor] | None = torch.cat

    def outputs(self, check: PartCheck, part: Any, inputs: Sequence[Tensor] = ()) -> list[Tensor]:
        """Compute outputs, which must be float32, from copies of ``inputs``, which must not change."""
        inputs = inputs or self.inputs
        copies = [tensor.clone() for tensor in inputs]
        outputs = self.compute(check, part, *copies)
        for output in outputs:
            check.that(output.dtype == torch.float32, f"{self.method} returned", output, "float32")
        check.that(
            all(map(torch.equal, copies, inputs)),
            f"{self.method} changed its input",
            copies,
            "a new tensor as the result",
        )
        return outputs


def copy_of(check: PartCheck, part: Any) -> Any:
    """Copy ``part`` to try it; the copy of a large part shares its parameters, to save memory."""
    shared = {}
    if is_large(part):
        shared = {id(parameter): parameter for parameter in part.parameters()}
    return check.call(copy, "deepcopy", part, shared)


def is_large(part: Any) -> bool:
    return isinstance(part, nn.Module) and sum(weight.numel() for weight in part.parameters()) > MAX_PARAMETERS


@contextmanager
def preserve_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Compute without gradients; restore the random generators, also of ``device``, at the end."""
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.default_generator.manual_seed(_SEED)  # torch.manual_seed() would seed the GPUs, too
        yield
    np.random.set_state(numpy_state)
    random.setstate(python_state)


def check_part(
    subject: str,
    part: Any,
    make_batch: Callable[..., Any],
    rebuild: Callable[[], Any],
) -> None:
    """Check a copy of ``part``, once for each class and its options.

    Args:
        make_batch: (check, part, number of frames) → :class:`TinyBatch`; None if it cannot be tried.
        rebuild: builds the part again, as for a checkpoint.

    Raises:
        BrokenPart: if a method raises an error or breaks its contract.
    """
    key = (subject, type(part), repr(rebuild))
    is_module = isinstance(part, nn.Module)
    if key in _PASSED or (is_module and torch.get_default_device().type == "meta"):
        return
    check = PartCheck(subject)
    check.attributes(part)
    with same_process_state(subject), preserve_random_state():
        part = copy_of(check, part)
        if is_module:
            part.eval()
        for length in (12, 1, 201):  # frames: a few, the shortest input, and about the usual crop
            batch = make_batch(check, part, length)
            if batch is None:
                return
            outputs = batch.outputs(check, part)
            check.agree(f"two calls of {batch.method}", outputs, batch.outputs(check, part))
            if batch.join is not None:
                rows = [batch.outputs(check, part, row) for row in zip(*[tensor.split(1) for tensor in batch.inputs])]
                check.agree(f"{batch.method} of a batch and its rows alone", outputs, map(batch.join, zip(*rows)))
            if is_large(part):
                break
        if is_module:
            _check_training(check, part, batch)
            # The weights go through a file: a new part must compute the same, up to rounding on a GPU.
            new_part = part
            if not is_large(part):
                with blame_part(subject, "its constructor", InputError):
                    new_part = rebuild()
            check.call(new_part, "load_state_dict", part.state_dict())
            outputs = batch.outputs(check, part.eval())
            check.agree("outputs before saving and after loading", outputs, batch.outputs(check, new_part.eval()), 1e-6)
        seed = torch.initial_seed()
        check.that(seed == _SEED, f"{batch.method} set PyTorch's seed to", seed, "no seed, which would repeat dropout")
    _PASSED.add(key)


def _check_training(check: PartCheck, part: Any, batch: TinyBatch) -> None:
    # Gradients must reach each parameter in some step, and no other tensor; the weights change.
    weights = {id(weight): name for name, weight in part.named_parameters() if weight.requires_grad}
    inputs = [tensor.clone() for tensor in batch.inputs]
    for tensor in inputs:  # the waveforms of an objective need no gradient, as in a run
        tensor.requires_grad_(batch.join is not None and tensor.is_floating_point())
    trained: dict[int, Tensor] = {}
    for mode in (False, True, True):  # no layer is skipped by chance in eval mode
        part.train(mode)
        with torch.enable_grad():
            outputs = batch.outputs(check, part, inputs)
            total: Any = sum((output * torch.randn_like(output)).sum() for output in outputs)
        nodes = [total.grad_fn]  # of the graph
        visited: set[Any] = {None}
        for node in nodes:  # the list grows
            if node not in visited:
                visited.add(node)
                nodes.extend(next_node for next_node, _ in node.next_functions)
        trained |= {id(node.variable): node.variable for node in visited if hasattr(node, "variable")}
        if is_large(part):
            continue
        if trained:
            check.call(total, "backward")
        for weight in part.parameters():
            weight *= 0.99
    unsaved = [trained[number] for number in trained.keys() - weights.keys() - set(map(id, inputs))]
    check.that(
        not unsaved, f"{batch.method} trains", unsaved, "only parameters (nn.Parameter, nn.ModuleList), to save them"
    )
    names = [name for key, name in weights.items() if key not in trained and not re.fullmatch(part.untrained, name)]
    check.that(not names, "no gradient reaches", names, "one in training, or their pattern as 'untrained'")
