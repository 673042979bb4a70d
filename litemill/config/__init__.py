"""What a user writes: the run config, its sections and the vocabulary of its values."""
