# The heavy image: TensorFlow and TFMOT, for the train-aware steps and the conversions.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/litemill/bin:$PATH PYTHONUNBUFFERED=1

# The dependencies alone, so that this layer changes only with the lock. What is needed to build stays here.
FROM base AS dependencies
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
WORKDIR /build
COPY requirements.lock setup.py ./
COPY litemill/__init__.py litemill/
RUN touch README.md && python3 -m venv /opt/uv && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.lock \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement uv.lock \
 && python3 -m venv --without-pip /opt/litemill \
 && /opt/uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/litemill/bin/python \
      --constraint requirements.lock ".[train]" kfp 'tflite-micro; platform_machine == "x86_64"' \
 && /opt/uv/bin/uv pip uninstall --quiet --python /opt/litemill/bin/python litemill \
 && cd /opt/litemill/lib/python3*/site-packages && find numpy scipy sklearn -type d -name tests -prune -exec rm -rf {} + \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name 'sso*' ! -name sts -exec rm -rf {} +

FROM dependencies AS library
COPY pyproject.toml README.md ./
COPY litemill litemill
RUN /opt/uv/bin/uv pip install --quiet --no-cache --compile-bytecode --no-deps --python /opt/litemill/bin/python \
      --prefix /opt/library .

FROM base
COPY --from=dependencies /opt/litemill /opt/litemill
COPY --from=library /opt/library /opt/litemill
# A numeric user, so that Kubernetes can check runAsNonRoot; all that is written goes to /tmp, so the root can be read-only.
RUN groupadd --gid 10001 litemill && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home litemill
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /tmp
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="litemill-train" \
      org.opencontainers.image.description="Compresses and converts Keras models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["litemill"]
CMD ["--help"]
