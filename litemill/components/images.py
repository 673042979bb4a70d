"""Which image runs a component. Set the variables to compile for images of your own."""

import os

from litemill import __version__

# kfp.local's SubprocessRunner warns about an image whose name does not say python.
TRAIN = os.environ.get("LITEMILL_TRAIN_IMAGE", f"ghcr.io/litemill/train:{__version__}-python3.11")
EDGE = os.environ.get("LITEMILL_EDGE_IMAGE", f"ghcr.io/litemill/edge:{__version__}-python3.11")
