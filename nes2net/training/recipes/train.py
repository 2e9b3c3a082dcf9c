"""The section ``train`` of a recipe: loss, optimiser, schedule, precision, and the checkpoints to keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
)

from nes2net.lib.errors import refuse
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.parts.options import Takes
from nes2net.training.recipes.section import (
    AboveZero,
    BelowOne,
    Count,
    Decay,
    Flag,
    Natural,
    NotNegative,
    Probability,
    Section,
    Source,
    Text,
)

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
_KEEP_WORD = "(last|best|[1-9][0-9]{0,8})"
#: Condition of keys that are used only if the front-end is trained.
_OF_TRAINED = UsedWith("freeze_frontend=false")
#: Condition of keys that are used only if an optimiser takes gradient steps.
_OF_STEPS = UsedWith("optimizer=adam", "optimizer=adamw")


class TrainConfig(Section):
    """Optimisation. The defaults come from the ASVspoof 2019 recipe (arXiv 2504.05657)."""

    prefix = "train."

    epochs: Annotated[Count, Source("main.py --num_epochs")] = 100
    """Number of passes over the training set."""
    batch_size: Annotated[Count, Source("main.py --batch_size")] = 12
    """Number of utterances of an optimisation step, over all processes and all parts of
    `train.accumulate`."""
    drop_last: Annotated[
        Flag, _OF_STEPS, Source("true: main.py, ASVspoof 5 program; false: CtrSVDD program, GF/LGF/LLGF code")
    ] = True
    """Drop the last batch of an epoch if it is incomplete. If false, the last step has fewer
    utterances; one utterance alone is refused by a back-end that normalises one vector of each
    utterance over the batch."""
    accumulate: Count = 1
    """Number of parts into which a batch is cut to save memory. The parts go through the network
    one after the other. The loss is computed over the whole batch, but batch statistics are
    computed over each part alone."""
    optimizer: Annotated[
        Literal["adam", "adamw", "logistic"],
        Source(
            "adam: main.py; adamw: CtrSVDD program; Loshchilov and Hutter, ICLR 2019; logistic: Pascu et al., "
            "Interspeech 2024 (arXiv 2309.05384)"
        ),
    ] = "adam"
    """Optimiser. With `adam`, weight decay is an L2 term of the gradient; with `adamw`, it shrinks
    the weights themselves. `logistic` takes no steps: everything before the last layer is frozen,
    and scikit-learn fits the last layer to the embeddings by logistic regression, without
    augmentation. Learning rate, schedule and weight decay then have no effect, and `train.epochs`
    is 1."""
    logistic_c: Annotated[
        AboveZero, UsedWith("optimizer=logistic"), Source("assumed; Pascu et al.: weak regularisation is best")
    ] = 1e6
    """C of the logistic regression, the weight of the loss against the L2 term ½|w|²; a larger C
    regularises less. The embeddings are first scaled to unit variance in each dimension."""
    lr: Annotated[AboveZero, Source("main.py --lr; 2.5e-7 in the published command")] = 2.5e-7
    """Learning rate; with a schedule, the highest learning rate."""
    weight_decay: Annotated[NotNegative, Source("main.py --weight_decay")] = 1e-4
    """Weight decay, as `train.optimizer` applies it."""
    adam_betas: Annotated[
        list[BelowOne], Field(min_length=2, max_length=2), _OF_STEPS, Source("main.py (PyTorch's default)")
    ] = [0.9, 0.999]
    """Decay rates β₁ and β₂ of the moving averages of the gradient and of the squared gradient."""
    adam_eps: Annotated[AboveZero, _OF_STEPS, Source("main.py (PyTorch's default)")] = 1e-8
    """ε in the denominator of Adam's step."""
    amsgrad: Annotated[Flag, _OF_STEPS, Source("SR-LA Res2Net code; Reddi et al., ICLR 2018")] = False
    """In Adam's step, divide by the largest mean of the squared gradient so far."""
    schedule: Annotated[
        Literal["constant", "cosine", "cosine_epochs", "inverse_sqrt", "step"],
        Source(
            "constant: main.py; cosine: ASVspoof 5 program; cosine_epochs: CtrSVDD program; "
            "inverse_sqrt: SR-LA Res2Net code, Vaswani et al. 2017, Section 5.3; "
            "step: GF/LGF/LLGF code (arXiv 2111.07725)"
        ),
    ] = "constant"
    """Course of the learning rate. `cosine` falls from `train.lr` to `train.min_lr` over all steps.
    `cosine_epochs` falls over `train.t_max` epochs, rises over as many epochs, and so on; the rate
    changes once an epoch. `inverse_sqrt` rises to `train.lr` at step `train.warmup_steps` and then
    falls as 1/√step. `step` multiplies the rate by `train.decay_factor` every `train.decay_epochs`
    epochs."""
    min_lr: Annotated[
        NotNegative,
        UsedWith("schedule=cosine", "schedule=cosine_epochs"),
        Source("CtrSVDD program --min_lr: 1e-9; ASVspoof 5 program: 1e-7"),
    ] = 0.0
    """Lowest learning rate of a cosine; at most `train.lr`."""
    t_max: Annotated[Count, UsedWith("schedule=cosine_epochs"), Source("CtrSVDD program --T_max")] = 5
    """Number of epochs in which the learning rate falls from its highest to its lowest value."""
    decay_epochs: Annotated[Count, UsedWith("schedule=step"), Source("GF/LGF/LLGF code")] = 5
    """Number of epochs after which the learning rate is multiplied by `train.decay_factor`."""
    decay_factor: Annotated[Probability, UsedWith("schedule=step"), Source("GF/LGF/LLGF code")] = 0.5
    """Factor by which the learning rate is multiplied every `train.decay_epochs` epochs."""
    warmup_steps: Annotated[Natural, _OF_STEPS, NotWith("warmup_epochs"), Source("SR-LA Res2Net code: 1000")] = 0
    """Number of steps at the beginning in which the learning rate rises linearly."""
    warmup_epochs: Annotated[Natural, UsedWith("schedule=cosine_epochs"), Source("MoE code (arXiv 2409.11909): 3")] = 0
    """Number of epochs at the beginning in which the learning rate rises linearly, once an epoch,
    before the cosine; `train.t_max` includes these epochs."""
    warmup_from_zero: Annotated[Flag, UsedWith("warmup_epochs"), Source("MoE code: true")] = False
    """Begin the warm-up at 0, so that the first epoch changes no weight. Otherwise the learning rate
    of the first epoch is `train.lr` / (W + 1), where W is `train.warmup_epochs`. In each of the W
    epochs after the first one, the learning rate grows by the same amount."""
    plateau_patience: Annotated[Count | None, _OF_STEPS, Source("Ensembling code (Interspeech 2024): 3")] = None
    """The learning rate is halved after this many validations in a row without a lower development
    loss; then counting starts again. null never halves the rate."""
    max_grad_norm: Annotated[
        AboveZero | None,
        _OF_STEPS,
    ] = None
    """Largest L2 norm of the gradient; a longer gradient is scaled to this norm. null sets no limit."""
    task: Annotated[Text | dict[str, object] | None, Source("toolkit; distillation: arXiv 2309.08285")] = None
    """Task, by name or as a mapping of `name` and options. `distillation` trains a student that
    imitates a teacher, and installed packages may add tasks. With null, the detector is trained to
    give one score for each utterance, or for the task that one of these settings implies:
    `segments.resolutions`, `data.train_scores`, `train.optimizer: logistic`."""
    loss: Annotated[
        Text | dict[str, object],
        Source("cross_entropy: main.py --loss WCE; the others: nes2net info NAME"),
    ] = "cross_entropy"
    """Loss of an utterance, by name or as a mapping of `name` and options, as
    `{name: cross_entropy, class_weights: [0.5, 0.5]}`. `nes2net info NAME` shows the requirements
    and the options of a loss. A loss of embeddings replaces the last layer of the back-end by the
    head that the loss needs."""
    precision: Precision = "fp32"
    """Precision of the forward pass; weights and optimiser stay in float32. `tf32` rounds the
    inputs of products and convolutions to 10 bits (TF32). `tf32` and `fp16` need CUDA; on a GPU,
    `bf16` needs compute capability 8.0."""
    deterministic: Annotated[Flag, Source("main.py --cudnn-deterministic-toggle")] = True
    """Use deterministic algorithms, so that the same recipe gives the same weights, bit for bit,
    also after an interruption. If false, a GPU is faster, and weights differ in the last digits
    from run to run. On the CPU, training is always deterministic."""
    activation_checkpointing: Annotated[Flag, _OF_TRAINED] = False
    """Compute the activations of the transformer layers again in the backward pass instead of
    keeping the activations: less memory, more time."""
    compile: Flag = False
    """Compile front-end and back-end with `torch.compile`. Only the forward pass of a back-end is
    compiled; a loss of embeddings and `augment.latent` do not use the compiled pass."""
    graph: Literal["auto", "never"] = "auto"
    """On a GPU, replay steps as one CUDA graph (`auto`): forward pass, backward pass and optimiser are
    recorded once and launched in one call, with the same results. If a run cannot be recorded, its
    first lines say why, and steps are launched kernel by kernel, as with `never`."""
    freeze_frontend_epochs: Annotated[Natural, _OF_TRAINED, Source("CtrSVDD program --SSL_freeze_epoch")] = 0
    """Number of epochs at the beginning in which the front-end is not trained."""
    freeze_frontend: Annotated[Flag, Source("MoE code; GF/LGF/LLGF code, fixed front-end")] = False
    """Never train the front-end. The optimiser then has no parameters of the front-end, and no
    gradients or activations of the front-end are kept."""
    frontend_mode: Annotated[
        Literal["eval", "train"],
        UsedWith("freeze_frontend=true", "freeze_frontend_epochs"),
        Source("eval: CtrSVDD, MoE and GF/LGF/LLGF code; train: Lightning before 2.2"),
    ] = "eval"
    """Mode of a front-end while it is not trained. In `train` mode, dropout and layer drop of the front-end are on."""
    freeze_layers: Annotated[
        Natural | None,
        _OF_TRAINED,
        _OF_STEPS,
        UsedWith("adapt=null"),
        Source("toolkit; wav2vec 2.0, Section 4.3: the convolutions"),
    ] = None
    """Number of transformer layers, from the first one on, that are never trained. Everything
    before the layers is frozen too: convolutions, projection, and the encoding of positions. 0
    freezes only what is before the layers; null freezes nothing."""
    layer_decay: Annotated[
        Decay, _OF_TRAINED, _OF_STEPS, Source("BEiT code (arXiv 2106.08254); ELECTRA (arXiv 2003.10555)")
    ] = 1.0
    """Layer-wise decay x of the learning rate, from the top layer down. The learning rate is
    multiplied by x^(L + 1 − l) for transformer layer l of L, by x^(L + 1) for everything before the
    layers, and by 1 for everything after the layers."""
    adapt: Annotated[
        dict[str, object] | None,
        _OF_TRAINED,
        _OF_STEPS,
        Source("LoRA: arXiv 2106.09685; DoRA: arXiv 2402.09353; adapters: arXiv 1902.00751"),
    ] = None
    """Parameter-efficient fine-tuning: train few weights of the front-end, or few added weights,
    and keep the other weights of the front-end unchanged. A mapping of `kind` (`lora`, `dora`,
    `adapter`, `prompt` or `bitfit`) and its settings, as
    `{kind: lora, rank: 8, alpha: 16, targets: attention}`. `epoch_N.pth` and `resume.pt` then hold
    only the trained weights, and name the file of the other weights by its SHA-256. null trains all
    weights of the front-end."""
    init_from: Annotated[Text | None, Source("main.py --model_path")] = None
    """Checkpoint or folder of a whole detector to start from."""
    keep: Annotated[
        str,
        Field(pattern=rf"^\s*(improved|all|{_KEEP_WORD}(\s*,\s*{_KEEP_WORD})*)\s*$"),
        Takes("improved, all, or any of last, best and a number, joined by commas"),
        Source("improved: main.py"),
    ] = "improved"
    """Epochs whose file `epoch_N.pth` is kept: all epochs (`all`), each epoch that was the best so
    far when it ended (`improved`), or the `last`, the `best` and the k best epochs (a number k).
    `validation.select_on` chooses the measure, by default the development losses; if there are two
    losses, one of them is enough. `validation.ties` ranks equal values."""
    save_every_minutes: NotNegative = 10.0
    """Minutes between two saves of `resume.pt` within an epoch."""

    def check(self) -> None:
        refuse(
            (self.min_lr > self.lr, f"`train.min_lr` must be from 0 to `train.lr` ({self.lr}), not {self.min_lr}"),
            (
                self.warmup_epochs and self.warmup_epochs >= self.t_max,
                f"`train.warmup_epochs` must be below `train.t_max` ({self.t_max}), which counts them, not {self.warmup_epochs}",
            ),
        )

    @property
    def is_logistic(self) -> bool:
        return self.optimizer == "logistic"

    def keys_of_layers(self) -> list[str]:
        """List the keys that need transformer layers and do not have their defaults."""
        names = ("adapt", "freeze_layers", "layer_decay")
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
