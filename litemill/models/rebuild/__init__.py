"""A float `.tflite` rebuilt as a tf_keras model to train: each op as the layer that converts back into it."""
