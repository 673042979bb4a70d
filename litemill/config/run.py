"""What a user writes: the run config (DESIGN: one declaration gives schema, defaults and docs)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from litemill.config.base import Address
from litemill.config.budget import NO_LIMIT as NO_LIMIT
from litemill.config.budget import Budget as Budget
from litemill.config.budget import check_limits
from litemill.config.data import DataSpec as DataSpec
from litemill.config.data import Limit as Limit
from litemill.config.data import Preprocessing as Preprocessing
from litemill.config.data import Section as Section
from litemill.config.data_kinds import Kernels
from litemill.config.deploy import Deploy as Deploy
from litemill.config.deploy import settled
from litemill.config.kubernetes import ClusterSpec, Variable
from litemill.config.names import distinct, plain_name, slug
from litemill.config.notify import Webhook
from litemill.config.objective import OBJECTIVES, Objective
from litemill.config.secrets import WITHOUT_SECRETS, secret_in, told_of_secret
from litemill.config.steps import Step, check_order, parse_step
from litemill.config.targets import TargetSpec, check_named, parse_target
from litemill.errors import ConfigError
from litemill.tasks import default_metric

CHAMPION = "champion"
"""Alias in the model registry of the version that devices get now; also its row, its folder and its MLflow run."""
BASELINE = "baseline"
"""The float32 conversion of the source model, which every variant is compared with."""


class ModelSpec(Section):
    """The trained float model to start from."""

    uri: Address = Field(
        min_length=1,
        description="path, gs://, s3://, models:/ or runs:/ address of a .keras, .h5, .tflite, SavedModel",
    )
    allow_unsafe: bool = Field(False, description="load Lambda layers: Python code in the file, run on this machine")
    from_quantized: bool = Field(
        False, description="start from a .tflite that is quantized: its rounded weights, as float32"
    )
    restore_batch_norm: bool = Field(
        True,
        description="of a .tflite that is trained further: put back BatchNormalization that was folded into weights",
    )


class Distillation(Section):
    """Learning from the source model's outputs as well as from the labels (Hinton et al., 2015)."""

    weight: float = Field(0.0, ge=0.0, le=1.0, description="share of the teacher's term in the loss; 0 is off")
    temperature: float = Field(4.0, gt=0, le=1000, description="softens both outputs before they are compared")


class Augmentation(Section):
    """Light augmentation of image batches, drawn anew for each epoch."""

    shift: int = Field(0, ge=0, le=1024, description="shift by up to this many pixels each way, edges repeated")
    flip: bool = Field(False, description="mirror left to right with a chance of one half")

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return self.flip or self.shift > 0


class Training(Section):
    """Fine-tuning of the train-aware steps. The first four are all that most users set."""

    epochs: int = Field(3, gt=0, le=100_000, description="passes over the train split in each train-aware step")
    batch_size: int = Field(128, gt=0, le=1_000_000, description="samples of one step of the training")
    learning_rate: float = Field(1e-4, gt=0, le=100, description="the highest of the schedule")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seeds every draw of the run: splits, calibration, training")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="sgd is with a momentum of 0.9")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate, after the warm-up")
    warmup: float = Field(0.1, ge=0.0, le=0.5, description="fraction of the steps in which the rate rises from zero")
    validation: float = Field(0.1, ge=0.0, le=0.5, description="fraction of train held out, never of test")
    early_stop: int = Field(
        0,
        ge=0,
        le=100_000,
        description="stop after so many epochs without a lower validation loss and take the best; 0: never",
    )
    distillation: Distillation = Field(
        Distillation(), description="learn from the source model's outputs too: weight and temperature"
    )
    augmentation: Augmentation = Field(Augmentation(), description="of images, anew in each epoch: shift and flip")

    @model_validator(mode="after")
    def _something_to_stop_on(self) -> Training:
        if self.early_stop and not self.validation:
            raise ValueError("early_stop watches the validation loss: give training.validation a fraction above 0")
        return self


class EvaluationOptions(Section):
    """How the variants are run over the test split."""

    kernels: Kernels = Field(
        "xnnpack", description="xnnpack predicts a phone; reference, many times slower, predicts a microcontroller"
    )


Promote = Literal["gate", "manual"]
"""Who moves the alias `champion` of a registered model: the gate, by proof, or a person."""


class Tracking(Section):
    """What goes to MLflow, beside the runs themselves."""

    registered_model: str = Field(
        "", description="name in MLflow's model registry: its champion is what the winner must not be worse than"
    )
    promote: Promote = Field(
        "gate", description="gate: a winner that is not worse becomes the champion; manual: `litemill promote` does it"
    )

    @field_validator("registered_model")
    @classmethod
    def _plainly_named(cls, value: str) -> str:
        return plain_name(value, "registered model") if value else value


class Release(Section):
    """Where the winner is published."""

    uri: Address = Field(
        min_length=1,
        description="folder, gs:// or s3:// prefix; each release gets its own sub-folder and is never overwritten",
    )
    intended_use: str = Field("", description="what the model is for: your own text in the model card")
    sign_with: Variable = Field(
        "", description="variable that holds the private key (PEM) to sign with, or names its file"
    )
    samples: int = Field(
        16,
        ge=0,
        le=16,
        description="test samples that are kept with it, so that `litemill verify` can ask the file again",
    )


def _ordered(steps: list[Step]) -> list[Step]:
    check_order(steps)
    return steps


Recipe = Annotated[list[Annotated[Step, BeforeValidator(parse_step)]], AfterValidator(_ordered)]


class RunSpec(Section):
    """A run: one model, one data set, the recipes to try, where to run them, and what may be shipped."""

    name: str = Field(description="name of the run and of its MLflow experiment")
    model: ModelSpec
    data: DataSpec
    training: Training = Training()
    recipes: dict[str, Recipe] = Field(min_length=1, description="name: list of steps, the last a conversion scheme")
    targets: list[Annotated[TargetSpec, BeforeValidator(parse_target)]] = Field(
        default_factory=lambda: [parse_target("host")],
        min_length=1,
        max_length=8,
        description="where to run every variant: a name, or a mapping with name, device and options",
    )
    budget: Budget = Budget()
    deploy: Deploy = Deploy()
    evaluation: EvaluationOptions = EvaluationOptions()
    objective: str = Field("size", description=f"what to minimise among admissible variants: {', '.join(OBJECTIVES)}")
    tracking: Tracking = Tracking()
    release: Release | None = None
    notify: list[Webhook] = Field(
        default_factory=list, max_length=20, description="webhooks that are told how a run ended, see docs/registry.md"
    )
    cluster: ClusterSpec = ClusterSpec()

    @property
    def trains(self) -> bool:
        """Whether a recipe has a train-aware step."""
        return any(not step.is_scheme for steps in self.recipes.values() for step in steps)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        return plain_name(value)

    @field_validator("targets")
    @classmethod
    def _each_target_once(cls, value: list[TargetSpec]) -> list[TargetSpec]:
        names = [target.name for target in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"target {twice!r} is listed twice")
        distinct(names, "targets")
        return value

    @field_validator("recipes")
    @classmethod
    def _plain_recipe_names(cls, value: dict[str, list[Step]]) -> dict[str, list[Step]]:
        for name in value:
            plain_name(name, "recipe name")
        distinct([BASELINE, *(name for name in value if name != BASELINE)], "recipes")
        if BASELINE in value:
            raise ValueError(f"{BASELINE!r} is the name of the float32 conversion every recipe is compared with")
        return value

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        try:
            return str(Objective.parse(value))
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @property
    def delivery(self) -> Deploy:
        """`deploy` with what targets, budget and objective settle of it."""
        return settled(self.deploy, self.targets, self.budget, self.objective)

    @model_validator(mode="after")
    def _no_secrets(self) -> RunSpec:
        if (place := secret_in(self.model_dump(mode="json"))) is not None:
            raise ValueError(f"{told_of_secret(place)}. {WITHOUT_SECRETS}")
        return self

    @model_validator(mode="after")
    def _limits_fit_the_metric(self) -> RunSpec:
        check_limits(self.budget, self.data.task, self.data.metric or default_metric(self.data.task))
        return self

    @model_validator(mode="after")
    def _one_champion(self) -> RunSpec:
        if self.tracking.registered_model and CHAMPION in map(slug, self.recipes):
            name = next(recipe for recipe in self.recipes if slug(recipe) == CHAMPION)
            raise ValueError(f"recipes.{name} bears the name of the registry's champion, which is compared; rename it")
        return self

    @model_validator(mode="after")
    def _known_targets(self) -> RunSpec:
        for key, quantity, name, _ in self.budget.by_target():
            check_named(self.targets, name, quantity, f"budget.{key}.{name}")
        goal = Objective.parse(self.objective)
        if goal.target:
            check_named(self.targets, goal.target, goal.quantity, "objective")
        return self
