"""The conversion worker without the check of calibration samples, to meet TensorFlow's own crash."""

from litemill.convert import worker

if __name__ == "__main__":
    worker.check_inputs = lambda *args, **kwargs: None
    worker.compare_inputs = lambda *args, **kwargs: None
    worker.main()
