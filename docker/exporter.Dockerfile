# edgeconv's command line: exports, and measurements of boards that the container reaches by SSH.
#
#   docker build -f docker/exporter.Dockerfile -t edgeconv .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" edgeconv export net.py:make -o out
#
# To measure a board, OpenSSH needs the name of that user, and its keys where its home is:
#
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" -v /etc/passwd:/etc/passwd:ro \
#       -v "$HOME/.ssh:$HOME/.ssh:ro" edgeconv bench out --device ssh://pi@raspberrypi.local
#
# A plain install of torch brings gigabytes of CUDA libraries: pass the address of PyTorch's CPU
# wheels with --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE MANIFEST.in CHANGELOG.md CITATION.cff ./
COPY edgeconv edgeconv
COPY export export
COPY models models
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.11-slim-bookworm
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /tmp/constraints.txt
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-client \
    && rm -rf /var/lib/apt/lists/*
# torch first and by itself, so that it stays in its layer when only edgeconv changes.
RUN pip install --no-cache-dir -c /tmp/constraints.txt torch
COPY --from=wheel /wheel /tmp/wheel
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/wheel/*.whl && rm -r /tmp/wheel
# A user of any number may run it: what it keeps goes to a home that all may write.
RUN mkdir -m 1777 /home/edgeconv
ENV HOME=/home/edgeconv
WORKDIR /work
ENTRYPOINT ["edgeconv"]
