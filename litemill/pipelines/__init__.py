"""The DAG, and what is made of it: a run on this machine, or Kubeflow's IR."""
