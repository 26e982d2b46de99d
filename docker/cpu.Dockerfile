# docker build -f docker/cpu.Dockerfile -t valor-ray:cpu --build-arg TORCH_INDEX=URL .
#   URL: the index of PyTorch's CPU wheels, as given on its installation page
# docker run --rm --shm-size 1g -p 127.0.0.1:8000:8000 valor-ray:cpu
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends g++ libnuma1 && rm -rf /var/lib/apt/lists/*
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
RUN useradd --create-home valor
USER valor
EXPOSE 8000
CMD ["valor", "serve", "--host", "0.0.0.0"]
