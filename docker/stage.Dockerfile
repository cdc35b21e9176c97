# The image of the stages: one per family of dependencies, which REQUIREMENTS names.
#
#   make images
#   docker build -f docker/stage.Dockerfile -t channelscribe/stages:0.1.0 .
#
# Any Debian or Ubuntu will do as BASE, as torch's wheels carry the CUDA libraries. It is kept to what the classic builder knows.

# nvidia/cuda:13.0.2-base-ubuntu24.04, for x86_64: the CUDA release that torch's wheels are made for.
ARG BASE=nvidia/cuda@sha256:605fb0c8acf8674e164d822da8a8521f3a655056e569f0899e72ae940e1fe7dc
FROM $BASE

USER root
SHELL ["/bin/sh", "-eu", "-c"]

# What the base lacks of Python. One that has it all installs nothing.
RUN if ! python3 -c 'import venv, ensurepip' || ! [ -e /etc/ssl/certs/ca-certificates.crt ]; then \
      apt-get update; \
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates; \
      rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log; \
    fi; \
    python3 -m venv --without-pip /opt/channelscribe

# The pinned packages: the largest layer by far, made again only when the pins change. The installer stays out of the image.
ARG REQUIREMENTS=docker/requirements-stages.txt
ARG UV=uv==0.13.9
ARG PIP_INDEX_URL
COPY $REQUIREMENTS /opt/channelscribe/requirements.txt
RUN python3 -m venv /tmp/installer; \
    /tmp/installer/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check "$UV"; \
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi; \
    UV_CONCURRENT_INSTALLS=2 /tmp/installer/bin/uv pip sync --quiet --no-cache --compile-bytecode \
      --python /opt/channelscribe/bin/python /opt/channelscribe/requirements.txt; \
    rm -rf /tmp/installer /tmp/uv-*

# The project itself, without its sources.
COPY pyproject.toml README.md LICENSE docker/check_bytecode.py /tmp/project/
COPY include /tmp/project/include
RUN python3 -m venv /tmp/installer; \
    /tmp/installer/bin/python -m pip --python /opt/channelscribe/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-build-isolation /tmp/project; \
    /opt/channelscribe/bin/python /tmp/project/check_bytecode.py /opt/channelscribe/lib; \
    rm -rf /tmp/installer /tmp/project

# The user that the operator names has no name in here, and some libraries ask for one.
ENV PATH=/opt/channelscribe/bin:$PATH \
    HOME=/tmp \
    USER=channelscribe \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG SOURCE=
ARG VERSION=
ARG REVISION=
ARG CODE=
LABEL org.opencontainers.image.title="Channelscribe stages" \
      org.opencontainers.image.description="The programs that transcribe, diarize, identify speakers and embed text." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      channelscribe.code="$CODE"

WORKDIR /tmp
# Every model of the profile is loaded and does a little work. There is no GPU while an image is built.
USER 10001:10001
ARG PROFILE=bundled
RUN channelscribe stage --self-check --profile "$PROFILE" --device cpu; find /tmp -mindepth 1 -delete
