"""Optimisation steps as one CUDA graph: obstacles, recording and replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from nes2net.lib.computing.cuda_graph import Graph, find_obstacles, key_of
from nes2net.lib.errors import InputError, first_line
from nes2net.lib.process.this_process import is_out_of_memory
from nes2net.training.dataset import StepPart
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import Recipe


def known_obstacle(recipe: Recipe, objective: Objective, accelerator: Accelerator) -> str:
    """Say why the steps of a run on a GPU cannot be replayed as a CUDA graph; empty if they may be."""
    train = recipe.train
    known_obstacles = {
        "this is no GPU": accelerator.device.type != "cuda",
        "`train.graph` is never": train.graph == "never",
        "`train.optimizer=logistic` takes no steps": train.is_logistic,
        "several processes share each step": accelerator.num_processes > 1,
        "the GradScaler of `train.precision=fp16` skips steps": accelerator.scaler is not None,
        "`train.compile` records kernels of its own": train.compile,
        "`train.activation_checkpointing` sets random generators back": train.activation_checkpointing,
        "batches have different lengths": recipe.data.crop in ("dynamic", "pieces"),
        "`augment.latent` draws random numbers on the CPU": objective.latent is not None,
        "`augment.adversarial` attacks the detector in each step": objective.adversarial is not None,
        "the loss changes from step to step": objective.criterion.changes_with_steps,
        "layers are dropped at random": objective.detector.frontend.encoder_layerdrop > 0,
    }
    return next((reason for reason, holds in known_obstacles.items() if holds), "")


def line_about(reason: str) -> str:
    """Say that steps are captured as a CUDA graph, or the ``reason`` why not."""
    if reason:
        return f"steps are not captured as a CUDA graph, because {reason}"
    return "steps are captured as a CUDA graph"


class RecordedStep:
    """Does ``step(step_parts, denominators)`` by replaying a CUDA graph, once a graph of these shapes is recorded.

    The first two steps of a shape run without a graph, and the third is recorded, unless the second
    shows an :attr:`obstacle` (:func:`nes2net.lib.computing.cuda_graph.find_obstacles`); ``tell`` then gets
    :func:`line_about` it. Only one shape is recorded. Results are the same as without graphs.

    Args:
        step: computes from the parts of a step and the denominators of the loss, and changes the
            weights.
        obstacle: why no step may be recorded; empty if none is known.

    Raises:
        InputError: if recording fails all the same. The state of PyTorch's random numbers is then
            unknown.
    """

    def __init__(self, step: Callable[..., Tensor], tell: Callable[[str], None], obstacle: str) -> None:
        self.step = step
        self.tell = tell
        self.obstacle = obstacle
        self.is_recordable = False  # until a second step showed no obstacle
        self.forget()

    def forget(self) -> None:
        """Drop the graph, which frees its memory."""
        self.graph: Graph | None = None
        self.num_steps: Counter[tuple] = Counter()  # by key_of()

    def __call__(self, step_parts: Sequence[StepPart], denominators: Tensor) -> Tensor:
        if self.obstacle:
            return self.step(step_parts, denominators)
        key = key_of((step_parts, denominators))
        self.num_steps[key] += 1
        # The first step of a shape also allocates and compiles.
        if self.num_steps[key] == 2:
            with find_obstacles() as reasons:
                values = self.step(step_parts, denominators)
            self.is_recordable = not reasons
            if reasons:
                self.obstacle = reasons[0]
                self.tell(line_about(self.obstacle))
            return values
        if self.num_steps[key] > 2 and self.graph is None:
            self.graph = self._record(step_parts, denominators)
        if self.graph is None or self.graph.key != key:
            return self.step(step_parts, denominators)
        return self.graph(step_parts, denominators)

    def _record(self, step_parts: Sequence[StepPart], denominators: Tensor) -> Graph:
        # The graph would repeat the number of the step. A loss that uses it must say so; here it gets none.
        no_number: Any = object()
        step_parts = [part._replace(iteration=no_number) for part in step_parts]
        try:
            return Graph(self.step, (step_parts, denominators))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = first_line(error.__context__ or error)
            raise InputError(
                f"a step cannot be recorded as a CUDA graph ({reason}): use `train.graph=never`"
            ) from error
