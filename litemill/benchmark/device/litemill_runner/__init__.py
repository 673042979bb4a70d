"""Runs on the device: loads `.tflite` files in LiteRT, times them, returns their outputs and what the device is.

This package is pushed to devices as it is, so it needs nothing but the standard library, numpy and ai-edge-litert, and
keeps to Python 3.10. No other Python thread may run beside it: `invoke` releases the interpreter lock, and a busy
thread made the median 15 times worse.

    python -m litemill_runner JOB.json

The job names a mode, the models (`key`, `path`, `inputs`: a .npy of raw samples in the model's own dtype) and an
`out` folder, which gets `result.json` and `<key>.npy` with the raw first output for each sample. Modes:

- `facts`: what the device is.
- `probe`: one model in a fresh process: init, first inference, peak memory, which ops were delegated.
- `latency`: all models in one process, in interleaved blocks after a warm-up.
"""
