"""The config of one experiment, as mutable dataclasses: every field can be overridden on the command line."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DataConfig:
    """Where examples come from and what happens to them."""

    source: Any  # component -> Splits
    batch_size: int = 128  # examples per step, over all devices and hosts
    eval_batch_size: int = 500  # examples per evaluation step, over all devices and hosts
    crop_padding: int = 4  # pixels of zeros around a training image before a random crop; 0: no crop
    flip: bool = True  # mirror training images at random
    lighting: float = 0.0  # standard deviation of shifts along the principal components of colour; 0: none


@dataclass
class OptimizerConfig:
    """How parameters move."""

    transform: Any  # component -> optax.GradientTransformation, without learning rate and decay
    schedule: Any  # component, given epochs -> function of the epoch, by which the learning rate is multiplied
    learning_rate: float = 0.1
    weight_decay: float = 0.0  # L2 coefficient, added to the gradient before `transform`
    decay_binarized: bool = False  # also on binarized weights and what their binarizers learn
    no_decay: str = ""  # regular expression over "layer/parameter" paths: never decayed
    force_decay: str = ""  # regular expression over paths: decayed whatever the two lines above say


@dataclass
class LossConfig:
    """One term of the loss."""

    name: str  # under which it is reported
    term: Any  # component -> function of `bnn_jax.losses.Outputs`
    weight: float = 1.0
    schedule: Any = None  # component, given epochs -> function of the epoch, by which the weight is multiplied


@dataclass
class TeacherConfig:
    """A frozen network whose outputs the loss may look at."""

    source: str  # name of a stage, folder of a run, or file of weights (.npz); "": no teacher after all
    checkpoint: str = "last"  # of a run: "last", or "best", which was chosen on the test set
    model: Any = None  # component -> Flax module, given num_classes; None: the network of that stage or run


@dataclass
class RunConfig:
    """How a run goes about it, without a bearing on its result."""

    log_every: int = 50  # steps
    telemetry_every: int = 0  # steps, at least once an epoch of three or more; 0: off
    eval_every: int = 1  # epochs
    checkpoint_every: int = 1  # epochs; a signal saves at once
    read_threads: int = 1  # that read ahead, a batch each; as many as the host has cores where reading means decoding
    tensorboard: bool = True  # write TensorBoard events too, where tensorboardX is installed


@dataclass
class Config:
    """One experiment.

    Where weights come from elsewhere, a path that begins with "{workdir}/" is taken from the run's own folder.
    """

    model: Any  # component -> Flax module, given num_classes
    data: DataConfig
    optimizer: OptimizerConfig
    losses: list[LossConfig]
    epochs: int = 1
    seed: int = 0  # of initialization, data order and augmentation
    run: RunConfig = field(default_factory=RunConfig)
    init_from: str = ""  # weights to start from: name of a stage, folder of a run, or file of weights; "": random ones
    teacher: TeacherConfig | None = None
    stages: list["StageConfig"] = field(default_factory=list)  # earlier ones, of which those needed are run first


@dataclass
class StageConfig:
    """An experiment that another one builds on: it runs before, in a folder of its name inside the other's."""

    name: str  # what `init_from` and `teacher.source` call it
    config: Config
