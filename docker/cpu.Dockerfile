# docker build -f docker/cpu.Dockerfile -t valor-ray:cpu --build-arg TORCH_INDEX=URL .
#   URL: the index of PyTorch's CPU wheels, as given on its installation page
# docker run --rm --shm-size 1g -p 127.0.0.1:8000:8000 valor-ray:cpu
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# wget: for HEALTHCHECK, and for the probes that KubeRay gives its pods.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libnuma1 wget \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/valor_ray
# The lock's torch is the CPU build, which PyTorch keeps on an index of its own.
ARG TORCH_INDEX
COPY requirements/cpu.lock requirements/
RUN pip install --no-cache-dir --no-deps --extra-index-url "$TORCH_INDEX" \
      "torch==$(sed -n 's/^torch==//p' requirements/cpu.lock)+cpu" \
 && grep -v '^torch==' requirements/cpu.lock > /tmp/rest.lock \
 && pip install --no-cache-dir --no-deps -r /tmp/rest.lock
COPY pyproject.toml README.md LICENSE ./
COPY valor_ray valor_ray
COPY deployments deployments
COPY jobs jobs
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e .
# Folders that volumes are mounted at must be there and the user's: a new volume takes owner and mode from them.
RUN useradd --create-home --uid 10001 valor \
 && install -d -o valor -g valor /home/valor/.cache /home/valor/.cache/huggingface /staging
ENV HF_HOME=/home/valor/.cache/huggingface \
    VALOR_STAGING=/staging
USER 10001:10001
WORKDIR /home/valor
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s --retries=3 \
  CMD ["wget", "--tries=1", "--timeout=8", "-qO", "/dev/null", "http://127.0.0.1:8000/healthz"]
CMD ["valor", "serve", "--host", "0.0.0.0"]
