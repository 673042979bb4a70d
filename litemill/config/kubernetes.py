"""The `cluster:` section of a run config: images, resources, secrets and placement of tasks on Kubernetes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from litemill.config.base import Section, nearest
from litemill.errors import shown

TRAINING = ("doctor", "import-model", "prune", "cluster", "quantize-aware-train", "finetune")
"""Components that train or load Keras models: they get the larger defaults."""

COMPONENTS = (
    "start-run",
    "prepare-data",
    *TRAINING,
    "ptq",
    "int8-convert",
    "evaluate",
    "benchmark",
    "log-variants",
    "champion",
    "compare",
    "register",
    "release",
    "finish-run",
)
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
SECRET_LIKE = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|ACCESS_?KEY|API_?KEY|PRIVATE_?KEY")


def _matching(pattern: str, what: str, longest: int) -> AfterValidator:
    """A text of Kubernetes' own form; an empty one means that it is not set."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if value and (not form.fullmatch(value) or len(value) > longest):
            raise ValueError(f"{shown(value)} is not {what}")
        return value

    return AfterValidator(check)


_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
Label = Annotated[str, _matching(_LABEL, "a name of lower-case letters, digits and '-'", 63)]
Object = Annotated[str, _matching(rf"{_LABEL}(\.{_LABEL})*", "a name of lower-case letters, digits, '-' and '.'", 253)]
"""What Kubernetes calls an object such as a secret, a claim or an account."""
Variable = Annotated[str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name: letters, digits and '_'", 255)]
SecretKey = Annotated[str, _matching(r"[A-Za-z0-9._-]+", "a key of a secret: letters, digits, '.', '_', '-'", 253)]
Word = Annotated[str, _matching(_WORD, "a label's value: letters, digits, '.', '_', '-', at most 63", 63)]
LabelKey = Annotated[str, _matching(rf"({_LABEL}(\.{_LABEL})*/)?{_WORD}", "a label's key: [domain/]name", 317)]
Image = Annotated[str, _matching(r"[A-Za-z0-9._:@/-]+", "an image's reference", 1000)]
Folder = Annotated[str, _matching(r"/[^\0:]*", "an absolute path without ':'", 1024)]


class Images(Section):
    """The images by role, always with a tag or digest of your own: `latest` would make runs unrepeatable."""

    train: Image = Field("", description="TensorFlow and TFMOT; default: the image of this Litemill version")
    edge: Image = Field("", description="LiteRT only; default: the image of this Litemill version")

    @field_validator("train", "edge")
    @classmethod
    def _pinned(cls, value: str) -> str:
        name = value.rpartition("/")[2]
        if value and ((":" not in name and "@" not in value) or name.endswith(":latest")):
            raise ValueError(f"image {value!r} needs a fixed tag or a digest")
        return value


class Secret(Section):
    """A Kubernetes secret: its keys as variables, or all of it as files."""

    name: Object = Field(min_length=1)
    env: dict[Variable, SecretKey] = Field(default_factory=dict, description="variable: key in the secret")
    mount: Folder = Field("", description="folder to mount it at, such as an ssh key for devices")

    @model_validator(mode="after")
    def _used_somehow(self) -> Secret:
        if bool(self.env) == bool(self.mount):
            raise ValueError(f"secret {self.name!r} needs env (variable: key) or mount (a folder), one of them")
        return self


class Toleration(Section):
    """Lets a task onto nodes with a taint."""

    key: LabelKey
    operator: Literal["Equal", "Exists"] = "Exists"
    value: Word = ""
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule", ""] = ""

    @model_validator(mode="after")
    def _value_fits(self) -> Toleration:
        if self.value and self.operator == "Exists":
            raise ValueError(f"toleration {self.key!r} has a value: set operator: Equal, or leave the value out")
        return self


class Volume(Section):
    """A PersistentVolumeClaim: a data set cache, or the device nodes of a lab machine."""

    claim: Object = Field(min_length=1)
    mount: Folder = Field(min_length=1)


class Placement(Section):
    """What one component's tasks get; what is not given stays as it is for all."""

    cpu: str = Field("", description="cores, requested and allowed; train-aware steps get 2, the others 1")
    memory: str = Field("", description="requested and allowed; train-aware steps get 8Gi, the others 2Gi")
    gpu: int | None = Field(None, gt=0, le=1024, description="number of GPUs")
    gpu_type: LabelKey = Field("nvidia.com/gpu", description="the resource's name on the nodes")
    node_selector: dict[LabelKey, Word] = Field(
        default_factory=dict, description="labels a node must have, such as those of a device lab"
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, description="taints that are tolerated: key, value, operator, effect"
    )
    env: dict[Variable, str] = Field(
        default_factory=dict, description="plain variables; for secrets there is `secrets`"
    )
    secrets: list[Secret] = Field(
        default_factory=list, description="by name, with env (variable: key) or mount (a folder)"
    )
    volumes: list[Volume] = Field(
        default_factory=list,
        description="PersistentVolumeClaims, by claim and mount: a cache, a device bus",
    )
    timeout_minutes: int | None = Field(None, gt=0, le=525_600, description="of one task")

    @field_validator("cpu", "memory")
    @classmethod
    def _quantity(cls, value: str) -> str:
        if value and (not QUANTITY.fullmatch(value) or len(value) > 20 or not re.search("[1-9]", value)):
            raise ValueError(f"{shown(value)} is not a Kubernetes quantity such as 500m, 2 or 8Gi")
        return value

    @field_validator("env")
    @classmethod
    def _no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if SECRET_LIKE.search(name.upper()):
                raise ValueError(
                    f"{name} looks like a secret, which would be compiled into the pipeline; use `secrets`"
                )
        return value


class ClusterSpec(Placement):
    """How a run is placed on Kubernetes; the keys of a placement apply to all tasks, `components` adds to some."""

    namespace: Label = Field("kubeflow", min_length=1, description="where the pipelines run")
    images: Images = Field(Images(), description="those to use instead of this version's: train and edge")
    image_pull_secrets: list[Object] = Field(default_factory=list, description="names of secrets of the registry")
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="when a node fetches an image"
    )
    service_account: Object = Field("", description="of the runs; the cluster's own without it")
    retries: int = Field(2, ge=0, le=10, description="of a task that failed: a node was lost, a service unreachable")
    labels: dict[LabelKey, Word] = Field(default_factory=dict, description="of the pods")
    run_as_user: int = Field(10001, gt=0, le=2**31 - 1, description="the images' own user; tasks never run as root")
    components: dict[str, Placement] = Field(default_factory=dict, description="component: what its tasks get besides")

    @field_validator("components")
    @classmethod
    def _known(cls, value: dict[str, Placement]) -> dict[str, Placement]:
        for name in value:
            if name not in COMPONENTS:
                raise ValueError(f"unknown component {shown(name)}; {nearest(name, COMPONENTS)}")
        return value
