"""Run jobs that may crash, and say how a process died."""
