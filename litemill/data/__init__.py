"""Data sets: sources to splits on disk, calibration sets, checks. Nothing here imports TensorFlow."""
