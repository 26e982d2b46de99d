# docker build -f docker/gpu.Dockerfile -t valor-ray:gpu .
# docker run --rm --gpus all --shm-size 16g -e OPENAI_API_KEY -v hub:/home/valor/.cache/huggingface \
#   -p 127.0.0.1:8000:8000 valor-ray:gpu
# Not built yet where it was written: no registry of images was in reach. The lock's wheels, Debian's packages and these
# lines were checked apart (tests/shipping/).
#
# Python is a release (Ubuntu's own 3.11 is a release candidate, or none). torch brings CUDA's libraries as wheels; the
# compilers that kernels are built with at run time are of the same CUDA.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS cuda
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# wget: for HEALTHCHECK, and for the probes that KubeRay gives its pods.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libnuma1 wget \
 && rm -rf /var/lib/apt/lists/*
COPY --from=cuda /usr/local/cuda-13.0 /usr/local/cuda
ENV CUDA_HOME=/usr/local/cuda \
    PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/cuda/bin \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/valor_ray
COPY requirements/gpu.lock requirements/
RUN pip install --no-cache-dir --no-deps -r requirements/gpu.lock
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
# A first start downloads the models: 20 GB.
HEALTHCHECK --interval=30s --timeout=10s --start-period=3600s --retries=3 \
  CMD ["wget", "--tries=1", "--timeout=8", "-qO", "/dev/null", "http://127.0.0.1:8000/healthz"]
CMD ["valor", "serve", "--profile", "gpu", "--host", "0.0.0.0"]
