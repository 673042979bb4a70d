"""Train-aware compression on TFMOT: pruning, clustering, quantization-aware training, and the control."""

from litemill.compress.named import cluster_model, finetune_model, prune_model, qat_model
from litemill.compress.train import train

__all__ = ["cluster_model", "finetune_model", "prune_model", "qat_model", "train"]
