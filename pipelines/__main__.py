"""`python -m pipelines`."""

from litemill import console
from pipelines.cli import app

console.run(app)
