"""What a task gets on Kubernetes by the config's `cluster` section: image, resources, placement, secrets, retries."""

from __future__ import annotations

from kfp import dsl, kubernetes

from litemill.components.images import TRAIN
from litemill.config.kubernetes import TRAINING, ClusterSpec, Placement
from litemill.pipelines.tasks import TaskSetup

BACKOFF, BACKOFF_FACTOR, LONGEST_BACKOFF = "30s", 2.0, "600s"


def for_cluster(cluster: ClusterSpec) -> TaskSetup:
    """The dress of a cluster: what `build_pipeline` adds to each task."""

    def setup(component: str, task: dsl.PipelineTask) -> None:
        _image(task, cluster)
        _resources(component, task, cluster)
        for placement in (cluster, cluster.components.get(component, Placement())):
            _place(task, placement)
        for key, value in cluster.labels.items():
            kubernetes.add_pod_label(task, key, value)
        # A recipe that cannot work is data and fails no task, so a task that fails is worth another try.
        if cluster.retries:
            task.set_retry(cluster.retries, BACKOFF, BACKOFF_FACTOR, LONGEST_BACKOFF)
        kubernetes.set_security_context(task, run_as_user=cluster.run_as_user, run_as_non_root=True)

    return setup


def _image(task: dsl.PipelineTask, cluster: ClusterSpec) -> None:
    role = "train" if task.container_spec.image == TRAIN else "edge"
    own = getattr(cluster.images, role)
    if own:
        task.set_container_image(own)
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, cluster.image_pull_secrets)


def _resources(component: str, task: dsl.PipelineTask, cluster: ClusterSpec) -> None:
    own = cluster.components.get(component, Placement())
    cpu, memory = ("2", "8Gi") if component in TRAINING else ("1", "2Gi")
    for value, request, limit in (
        (own.cpu or cluster.cpu or cpu, task.set_cpu_request, task.set_cpu_limit),
        (own.memory or cluster.memory or memory, task.set_memory_request, task.set_memory_limit),
    ):
        request(value)
        limit(value)


def _place(task: dsl.PipelineTask, placement: Placement) -> None:
    if placement.gpu:
        task.set_accelerator_type(placement.gpu_type).set_accelerator_limit(placement.gpu)
    for key, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for taint in placement.tolerations:
        kubernetes.add_toleration(
            task, taint.key, operator=taint.operator, value=taint.value or None, effect=taint.effect or None
        )
    for name, value in placement.env.items():
        task.set_env_variable(name, value)
    for secret in placement.secrets:
        if secret.env:
            kubernetes.use_secret_as_env(task, secret.name, {key: name for name, key in secret.env.items()})
        else:
            kubernetes.use_secret_as_volume(task, secret.name, secret.mount)
    for volume in placement.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.mount)
    if placement.timeout_minutes:
        kubernetes.set_timeout(task, 60 * placement.timeout_minutes)
