"""The doctor: what will and will not work, found before any training."""
