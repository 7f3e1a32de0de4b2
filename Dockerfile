# docker build -t gollum . && docker run --rm -v "$PWD:/data" gollum status my.gollum
FROM python:3.11-slim

WORKDIR /opt/gollum
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
# PyTorch's build for processors: a tenth of what the one for GPUs takes.
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend cpu ".[chem,excel,ods,parquet,web]" \
    && useradd --create-home chemist
USER chemist
WORKDIR /data
ENTRYPOINT ["gollum"]
CMD ["--help"]
