"""Build the detector that a run starts from: new, from a checkpoint, or from the last save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nes2net.detector import Detector
from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.errors import InputError, refuse, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import check_one_line, print_note
from nes2net.lib.parts.options import Model, Options, with_options
from nes2net.lib.parts.registry import check_installed
from nes2net.lib.storage.claims import differences_in_words
from nes2net.models.checkpoints.base import base_digest, base_names, load_base
from nes2net.models.checkpoints.published_names import unwrap_frontend
from nes2net.models.frontends.adaptation import adapt as adapt_frontend
from nes2net.models.frontends.adaptation import check_adaptation
from nes2net.models.frontends.sizes import check_pretrained
from nes2net.models.loading import Checkpoint, load_weights, read_checkpoint, recognise, without_wrapper
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED
from nes2net.models.registry import PARTS, create_frontend, frontends, takes_checkpoint
from nes2net.models.weights_known import holds_weights_of
from nes2net.training.dataset import Tensors
from nes2net.training.losses.by_name import find_loss, with_head
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.resume_file import REMEDY, RESUME_FILE, ResumeContent
from nes2net.training.tasks.task import Task


def check_parts(recipe: Recipe) -> None:
    """Check the losses, and the settings that need transformer layers, before the corpus is read.

    Raises:
        InputError: if a loss or ``train.adapt`` is wrong, or if the front-end lacks transformer
            layers.
    """
    find_loss(recipe.train.loss)
    find_loss(recipe.segments.loss, "segments.loss")
    train = recipe.train
    with_adaptation(recipe.model, train.adapt)
    stated_keys = train.keys_of_layers()
    if not stated_keys:
        return
    options = dict(recipe.frontend)
    name = options.pop("name", None)
    engine = options.pop("engine", None)
    options.pop("checkpoint", None)
    if train.adapt is not None:
        check_adaptation(train.adapt, "`train.adapt`")
    with torch.device("meta"):  # without memory for the weights
        layers = create_frontend(name, **options).transformer_layers
    refuse(
        (
            train.adapt is not None and engine == "fairseq",
            "`train.adapt` excludes `model.frontend.engine=fairseq`: remove one of them",
        ),
        (not layers, f"front-end '{name}' has no transformer layers: remove `train.{stated_keys[0]}`"),
    )


def without_needless_checkpoint(recipe: Recipe) -> Recipe:
    """Remove ``ssl_checkpoint``, with a note, if the front-end has no pre-training.

    With ``train.init_from``, ``recipe`` is returned unchanged.
    """
    name = recipe.frontend.get("name", "")
    has_checkpoint = recipe.ssl_checkpoint is not None and not recipe.train.init_from
    if not has_checkpoint or name not in frontends.names() or takes_checkpoint(name):
        return recipe
    print_note(f"front-end '{name}' has no pre-training, so `ssl_checkpoint` ({recipe.ssl_checkpoint}) is not read")
    return recipe.model_copy(update={"ssl_checkpoint": None})


def build_detector(recipe: Recipe, folder: Path, saved_state: ResumeContent | None, task: Task) -> Detector:
    """Build the detector that a run trains, with its initial weights.

    Args:
        saved_state: content of the resume file, whose weights :meth:`RunState.load` loads later.
        task: names the classes, and may load further weights.

    Raises:
        InputError: if front-end, aggregation and back-end do not fit each other, if a file of
            weights is missing or does not fit, or if a published front-end would start from random
            weights.
    """
    if saved_state is not None:
        return _build_saved_detector(recipe, folder / RESUME_FILE, saved_state, task)
    frontend = recipe.frontend
    if not recipe.ssl_checkpoint and not recipe.train.init_from:
        check_pretrained(frontend.get("name", ""))
    model = _model_of_recipe(recipe, task)
    if not recipe.train.init_from:
        detector = Detector.from_config(with_adaptation(model, recipe.train.adapt), recipe.ssl_checkpoint)
        with without_memory():
            Detector.from_config(detector.config)  # as its checkpoints will be read
        task.begin(detector)
        return detector
    # A checkpoint of a detector also holds the pre-trained weights, and its options if this package wrote it.
    checkpoint = _read_start(recipe.train.init_from)
    if checkpoint.config is None:
        checkpoint = replace(checkpoint, state_dict=without_wrapper(checkpoint.state_dict, checkpoint.source, model))
    if recipe.ssl_checkpoint:
        model = {**model, "frontend": {**_without_adapter(_frontend_of(checkpoint)), **frontend}}
    detector = _build_from_checkpoint(checkpoint, model, recipe.train.adapt)
    if checkpoint.config is not None:
        start = checkpoint.provenance.only_training_data()
        starts = [] if start == Provenance() else [start]
    else:
        starts = _published_starts(checkpoint.path, checkpoint.state_dict, frontend.get("name", ""))
    detector.provenance = replace(detector.provenance, started_from=tuple(starts))
    return detector


def _published_starts(path: Path, state_dict: Tensors, frontend: str) -> list[Provenance]:
    """Find the published models that a checkpoint of other code may be, as provenance of the run.

    The checkpoint's digest decides. Otherwise, they are the fitting models with the run's
    ``frontend``, or else all fitting models.
    """
    fitting = [name for name, misfit in recognise(state_dict).items() if not misfit]
    identified = [name for name in fitting if holds_weights_of(name, state_dict, path)]
    if identified:
        return [Provenance(name) for name in identified]
    with_same_frontend = [name for name in fitting if PUBLISHED[name].frontend == frontend]
    return [Provenance(architecture_of=name) for name in with_same_frontend or fitting]


def _build_saved_detector(recipe: Recipe, path: Path, saved_state: ResumeContent, task: Task) -> Detector:
    model = saved_state["model"]
    engine = recipe.frontend.get("engine")
    if engine is not None:
        model = with_options(model, "frontend", engine=engine)
    try:
        detector = Detector.from_config(model)
    except InputError as error:
        raise InputError(f"{path} does not fit this version ({error}): {REMEDY}") from error
    # Compare it with the detector of the recipe, without the options of a front-end whose checkpoint is missing.
    try:
        frontend = _frontend_without_weights(recipe)
    except InputError as error:
        print_note(f"the options of the front-end are those in {path}, because its checkpoint is not there: {error}")
        frontend = _without_adapter(detector.config["frontend"])
    expected_model = {**_model_of_recipe(recipe, task), "frontend": dict(frontend)}
    with without_memory():
        expected = Detector.from_config(with_adaptation(expected_model, recipe.train.adapt)).config
    if detector.config != expected:
        difference = differences_in_words(detector.config, expected)
        raise InputError(f"{path} does not hold the detector of the recipe{difference}: {REMEDY}")
    detector.provenance = Provenance.read({"started_from": saved_state["started_from"]})
    if not detector.frontend.adapted:
        return detector
    if "base" not in saved_state:
        raise InputError(f"{path} does not fit this run (it does not name its base): {REMEDY}")
    moved_base = None if recipe.train.init_from else recipe.ssl_checkpoint  # where the file of the base may be now
    if recipe.train.init_from:
        remedy = "restore the file of `train.init_from`"
    elif moved_base is None:
        remedy = "restore that file"
    else:
        remedy = "name with `ssl_checkpoint` the file that the run began with"
    load_base(detector, saved_state["base"], path, moved_base, remedy)
    detector.float()  # training needs float32, but the file may hold half precision
    if moved_base is not None:
        detector.base = {**saved_state["base"], "file": moved_base}
    return detector


def _read_start(path: str) -> Checkpoint:
    if not Path(path).exists():
        raise InputError(f"checkpoint {path} not found: name the detector to start from with `train.init_from`")
    checkpoint = read_checkpoint(Path(path))
    check_installed(path, checkpoint.provenance.facts, PARTS)
    return checkpoint


def _model_of_recipe(recipe: Recipe, task: Task) -> Model:
    check_one_line(recipe.model.get("backend", {}).get("classes") or (), "`model.backend.classes`")
    return with_head(with_classes(recipe.model, task.classes), recipe.train.loss, len(task.classes))


def _frontend_without_weights(recipe: Recipe) -> Options:
    stated = dict(recipe.frontend)
    stated.pop("engine", None)
    if not recipe.ssl_checkpoint:
        return stated
    if recipe.train.init_from:
        return {**_without_adapter(_frontend_of(_read_start(recipe.train.init_from))), **stated}
    with without_memory():
        return create_frontend(stated.pop("name", ""), recipe.ssl_checkpoint, **stated).config


def with_classes(model: Model, classes: Sequence[str]) -> Model:
    """Return ``model`` with a logit and a name for each of ``classes`` in the back-end.

    Spoof and bona fide are the default, and change nothing.

    >>> with_classes({"backend": {"name": "aasist"}}, ("A01", "A02", "bonafide"))
    {'backend': {'name': 'aasist', 'num_logits': 3, 'classes': ['A01', 'A02', 'bonafide']}}
    """
    if tuple(classes) == Task.classes:
        return model
    return with_options(model, "backend", num_logits=len(classes), classes=list(classes))


def _build_from_checkpoint(checkpoint: Checkpoint, model: Model, adapt: Options | None) -> Detector:
    """A front-end that is adapted in the checkpoint, as ``adapt`` says, is not adapted again."""
    path = checkpoint.source
    checkpoint_adapt = _frontend_of(checkpoint).get("adapt")
    if checkpoint_adapt is not None:  # continue to train the adapted weights
        checkpoint_adapt = check_adaptation(checkpoint_adapt, f"{path}: adapt").options
        if adapt is None or check_adaptation(adapt, "`train.adapt`").options != checkpoint_adapt:
            options = ", ".join(f"{key}: {short_repr(value)}" for key, value in checkpoint_adapt.items())
            raise InputError(
                f"{path} is adapted by {{{options}}}: set `train.adapt` to that, or merge it first: nes2net export --to merged"
            )
        model = with_adaptation(model, adapt)
    detector = Detector.from_config(model)
    load_weights(detector, checkpoint, remedy="put its base there, or beside it")
    detector.float()  # the file of the base may hold half precision
    # Adapt a front-end that is not adapted yet; the checkpoint is then the base of the adapted front-end.
    if checkpoint_adapt is None and adapt is not None:
        adapt_frontend(detector.frontend, check_adaptation(adapt, "`train.adapt`"))
    if detector.frontend.adapted and detector.base is None:
        names = base_names(detector)
        tensors = unwrap_frontend(checkpoint.state_dict)
        detector.base = {"digest": base_digest({name: tensors[name] for name in names}), "file": path}
    return detector


def _frontend_of(checkpoint: Checkpoint) -> Options:
    model = checkpoint.config
    frontend = model.get("frontend") if isinstance(model, dict) else None
    return frontend if isinstance(frontend, dict) else {}


def _without_adapter(frontend: Options) -> Facts:
    return {key: value for key, value in frontend.items() if key != "adapt"}


def with_adaptation(model: Model, adapt: Options | None) -> Model:
    """Return ``model`` with ``adapt`` as an option of its front-end; None changes nothing.

    Raises:
        InputError: if ``model`` itself sets this option, even if ``adapt`` is None.

    >>> with_adaptation({"frontend": {"name": "wavlm_large"}}, {"kind": "bitfit"})
    {'frontend': {'name': 'wavlm_large', 'adapt': {'kind': 'bitfit'}}}
    """
    if model.get("frontend", {}).get("adapt") is not None:
        raise InputError("a recipe says how its front-end is adapted with `train.adapt`: remove `model.frontend.adapt`")
    return model if adapt is None else with_options(model, "frontend", adapt=adapt)
