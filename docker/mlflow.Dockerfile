# MLflow's server with the drivers for PostgreSQL and Google Cloud Storage. Used by compose.yaml and kubernetes/.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/mlflow/bin:$PATH PYTHONUNBUFFERED=1

FROM base AS dependencies
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
# SQLAlchemy 2.1 takes psycopg 3 for postgresql:// addresses.
ARG PSYCOPG=psycopg[binary]==3.3.9
WORKDIR /build
COPY requirements.lock ./
RUN python3 -m venv /opt/uv && sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.lock \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement uv.lock \
 && python3 -m venv --without-pip /opt/mlflow \
 && /opt/uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/mlflow/bin/python \
      --constraint requirements.lock mlflow google-cloud-storage "$PSYCOPG"

FROM base
COPY --from=dependencies /opt/mlflow /opt/mlflow
RUN groupadd --gid 10001 mlflow && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home mlflow \
 && mkdir /artifacts && chown 10001:10001 /artifacts
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
# Litemill starts no jobs on the server: without its seven workers it needs 2 GB less.
ENV MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
USER 10001:10001
WORKDIR /tmp
VOLUME /artifacts
# The first process of a container ignores SIGTERM unless it handles it, which this one does not.
STOPSIGNAL SIGINT
EXPOSE 5000
LABEL org.opencontainers.image.title="litemill-mlflow" \
      org.opencontainers.image.description="MLflow server with PostgreSQL and Google Cloud Storage drivers" \
      org.opencontainers.image.licenses="Apache-2.0"
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=5 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
# MLFLOW_BACKEND_STORE_URI says where runs go, MLFLOW_SERVER_ALLOWED_HOSTS by which names the server may be called.
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--artifacts-destination"]
CMD ["/artifacts"]
