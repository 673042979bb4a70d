"""Kubeflow components, one a module: each names its inputs and outputs and calls one function of `litemill`."""
