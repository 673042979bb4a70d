"""The DAG, its runners, and `python -m pipelines`."""
