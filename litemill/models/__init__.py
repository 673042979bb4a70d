"""Models: look into a file, load any supported source, keep it as an artifact. TensorFlow comes only when used."""
