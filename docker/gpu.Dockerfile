# docker build -f docker/gpu.Dockerfile -t valor-ray:gpu .
# docker run --rm --gpus all --shm-size 16g -e OPENAI_API_KEY -v hub:/home/valor/.cache/huggingface \
#   -p 127.0.0.1:8000:8000 valor-ray:gpu
FROM nvidia/cuda:12.9.1-devel-ubuntu22.04
RUN apt-get update && apt-get install -y --no-install-recommends python3.11 python3.11-venv python3.11-dev g++ \
 && rm -rf /var/lib/apt/lists/*
RUN python3.11 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/valor_ray
COPY pyproject.toml README.md LICENSE ./
COPY valor_ray valor_ray
COPY deployments deployments
COPY jobs jobs
# MoGe asks for a GUI OpenCV and a demo server that are not used: without its dependencies, then what it does need.
RUN pip install --no-cache-dir "vllm==0.32.0" "setuptools==78.1.1" \
 && pip install --no-cache-dir --no-deps dlr-moge==2.0.0 dlr-utils3d==1.3 dlr-pipeline==1.0.0 \
 && pip install --no-cache-dir -e .
RUN useradd --create-home valor
USER valor
EXPOSE 8000
CMD ["valor", "serve", "--profile", "gpu", "--host", "0.0.0.0"]
