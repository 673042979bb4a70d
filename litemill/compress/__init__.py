"""Train-aware compression on TFMOT: pruning, clustering, quantization-aware training, and the control."""

from litemill.compress.cluster import cluster_model
from litemill.compress.finetune import finetune_model
from litemill.compress.prune import prune_model
from litemill.compress.qat import qat_model

__all__ = ["cluster_model", "finetune_model", "prune_model", "qat_model"]
