"""The process that trains: `python -m litemill.compress.worker FOLDER` (see litemill.process.isolation).

A job is a `TrainJob` as plain data. Epochs are reported on stderr while it works.
"""

from __future__ import annotations

import logging

from litemill.compress.step import TrainJob, take_step
from litemill.process.isolation import Job, serve


def train(job: Job) -> None:
    """Take one step.

    Raises:
        StepFailed: See `take_step`.
        InputError: See `take_step`.
    """
    take_step(TrainJob.model_validate(job))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    serve(train)
