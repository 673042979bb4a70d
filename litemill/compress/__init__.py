"""Train-aware compression on TFMOT: pruning, clustering, quantization-aware training, and the control."""

from litemill.compress.train import train

__all__ = ["train"]
