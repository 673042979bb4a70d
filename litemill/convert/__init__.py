"""From a SavedModel to `.tflite` variants: one function for each conversion scheme."""
