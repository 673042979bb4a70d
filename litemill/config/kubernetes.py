"""The `cluster:` section of a run config: images, resources, secrets and placement of tasks on Kubernetes."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from litemill.config.base import Section, nearest

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
    "compare",
    "release",
    "finish-run",
)
QUANTITY = re.compile(r"^\d+(\.\d+)?(m|[KMGT]i?)?$")


class Images(Section):
    """The images by role, always with a tag or digest of your own: `latest` would make runs unrepeatable."""

    train: str = Field("", description="TensorFlow and TFMOT; default: the image of this Litemill version")
    edge: str = Field("", description="LiteRT only; default: the image of this Litemill version")

    @field_validator("train", "edge")
    @classmethod
    def _pinned(cls, value: str) -> str:
        name = value.rpartition("/")[2]
        if value and ((":" not in name and "@" not in value) or name.endswith(":latest")):
            raise ValueError(f"image {value!r} needs a fixed tag or a digest")
        return value


class Secret(Section):
    """A Kubernetes secret: its keys as variables, or all of it as files."""

    name: str
    env: dict[str, str] = Field(default_factory=dict, description="variable: key in the secret")
    mount: str = Field("", description="folder to mount it at, such as an ssh key for devices")

    @model_validator(mode="after")
    def _used_somehow(self) -> Secret:
        if bool(self.env) == bool(self.mount):
            raise ValueError(f"secret {self.name!r} needs env (variable: key) or mount (a folder), one of them")
        return self


class Toleration(Section):
    """Lets a task onto nodes with a taint."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str = ""
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule", ""] = ""


class Volume(Section):
    """A PersistentVolumeClaim: a data set cache, or the device nodes of a lab machine."""

    claim: str
    mount: str


class Placement(Section):
    """What one component's tasks get; what is not given stays as it is for all."""

    cpu: str = Field("", description="cores, requested and allowed; train-aware steps get 2, the others 1")
    memory: str = Field("", description="requested and allowed; train-aware steps get 8Gi, the others 2Gi")
    gpu: PositiveInt | None = Field(None, description="number of GPUs")
    gpu_type: str = "nvidia.com/gpu"
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, description="plain variables; for secrets there is `secrets`")
    secrets: list[Secret] = Field(default_factory=list)
    volumes: list[Volume] = Field(default_factory=list)
    timeout_minutes: PositiveInt | None = None

    @field_validator("cpu", "memory")
    @classmethod
    def _quantity(cls, value: str) -> str:
        if value and not QUANTITY.match(value):
            raise ValueError(f"{value!r} is no Kubernetes quantity such as 500m, 2 or 8Gi")
        return value

    @field_validator("env")
    @classmethod
    def _no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.search(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY", name.upper()):
                raise ValueError(
                    f"{name} looks like a secret, which would be compiled into the pipeline; use `secrets`"
                )
        return value


class ClusterSpec(Placement):
    """How a run is placed on Kubernetes; the keys of a placement apply to all tasks, `components` adds to some."""

    namespace: str = Field("kubeflow", description="where the pipelines run")
    images: Images = Images()
    image_pull_secrets: list[str] = Field(default_factory=list)
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    service_account: str = ""
    retries: int = Field(2, ge=0, le=10, description="of a task that failed: a node was lost, a service unreachable")
    labels: dict[str, str] = Field(default_factory=dict, description="of the pods")
    run_as_user: PositiveInt = Field(10001, description="the images' own user; tasks never run as root")
    components: dict[str, Placement] = Field(default_factory=dict, description="component: what its tasks get besides")

    @field_validator("components")
    @classmethod
    def _known(cls, value: dict[str, Placement]) -> dict[str, Placement]:
        for name in value:
            if name not in COMPONENTS:
                raise ValueError(f"unknown component {name!r}; {nearest(name, COMPONENTS)}")
        return value
