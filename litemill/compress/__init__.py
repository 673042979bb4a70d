"""Train-aware compression on TFMOT: pruning, clustering, quantization-aware training, and the control."""
