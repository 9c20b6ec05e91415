# Images for the CPU (the default) and for NVIDIA GPUs:
#   docker build --tag electra-zh .
#   docker build --tag electra-zh:cuda --target cuda .
# Corpus, data and runs are in the folder that is mounted as /work:
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" electra-zh doctor
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" --gpus all electra-zh:cuda doctor
FROM python:3.11-slim AS base
# Users of any id may write here: matplotlib and JAX keep files in it.
ENV HOME=/tmp PYTHONUNBUFFERED=1
COPY setup.cfg pyproject.toml README.md LICENSE /src/
COPY electra_zh /src/electra_zh
COPY configs /src/configs
RUN pip install --no-cache-dir '/src[report,opencc,near-duplicates,parquet]'
WORKDIR /work
ENTRYPOINT ["electra-zh"]
CMD ["--help"]

# The wheels of JAX bring the CUDA libraries; the host brings the driver and NVIDIA's container toolkit.
FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN pip install --no-cache-dir '/src[gpu]'

FROM base AS cpu
