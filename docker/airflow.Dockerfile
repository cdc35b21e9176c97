# The image of all of Airflow's components, with the DAGs in it.
#
#   make images
#   docker build -f docker/airflow.Dockerfile -t channelscribe/airflow:0.1.0 .
#
# BASE gives the operating system and Python: the official image of Airflow, an Astro Runtime (one whose tag ends in -base), or any
# Debian or Ubuntu. Airflow itself is installed beside what the base may have of it, so that the pinned packages are the same on
# every base. It is kept to what the classic builder knows.

ARG BASE=apache/airflow:slim-3.3.2-python3.12
FROM $BASE

USER root
SHELL ["/bin/sh", "-eu", "-c"]
ENTRYPOINT []

# What the base lacks of Python. One that has it all installs nothing.
RUN if ! python3 -c 'import venv, ensurepip' || ! [ -e /etc/ssl/certs/ca-certificates.crt ]; then \
      apt-get update; \
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates; \
      rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log; \
    fi; \
    python3 -m venv --without-pip /opt/channelscribe

# The base's own Airflow, and pip's settings for it, stay out of sight.
ENV PATH=/opt/channelscribe/bin:$PATH \
    HOME=/tmp \
    USER=airflow \
    PYTHONPATH= \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_USER=0

ARG UV=uv==0.13.9
ARG PIP_INDEX_URL
COPY requirements.txt /opt/channelscribe/requirements.txt
RUN python3 -m venv /tmp/installer; \
    /tmp/installer/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check "$UV"; \
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi; \
    /tmp/installer/bin/uv pip sync --quiet --no-cache --compile-bytecode \
      --python /opt/channelscribe/bin/python /opt/channelscribe/requirements.txt; \
    rm -rf /tmp/installer

# The project where its own files look for each other, so the package is installed from there.
WORKDIR /opt/channelscribe/app
COPY pyproject.toml README.md LICENSE airflow_settings.yaml ./
COPY include include
COPY plugins plugins
COPY dags dags
COPY docker/check_bytecode.py docker/prepare.py docker/follow_channels.py docker/healthcheck.py docker/
RUN /opt/channelscribe/bin/python3 -m venv /tmp/installer; \
    /tmp/installer/bin/python -m pip --python /opt/channelscribe/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
    python -m compileall -q include plugins dags docker; \
    python docker/check_bytecode.py /opt/channelscribe; \
    rm -rf /tmp/installer

ENV PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/channelscribe/app/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/channelscribe/app/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

ARG SOURCE=
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Channelscribe's Airflow" \
      org.opencontainers.image.description="Airflow with Channelscribe's DAGs, plugins and package." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

USER 50000:0
RUN AIRFLOW_HOME=/tmp/self-check airflow version; channelscribe --help >/dev/null; rm -rf /tmp/self-check
