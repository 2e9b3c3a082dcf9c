# Two images: nes2net with the requirements of its tests and of the demonstration, and with `--target serve` only what
# the page, the HTTP interface and live audio need. docs/install.md says how to build and run them.
FROM debian:bookworm-slim AS python

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Two arenas, because glibc would keep memory for each thread of a server's clients.
ENV MALLOC_ARENA_MAX=2
ENV LANG=C.UTF-8 PIP_NO_CACHE_DIR=1 VENV=/opt/venv PATH=/opt/venv/bin:$PATH
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*
# Users without an account in the image, as by docker run --user, have a home and a name too.
ENV HOME=/home/nes2net USER=nes2net
RUN useradd --create-home --uid 1000 nes2net && mkdir /work && chmod 1777 /home/nes2net /work

FROM python AS torch

# By default the build of torch with CUDA, which computes on a CPU too. TORCH_INDEX is the address of another index: that of
# the CPU builds, which are much smaller, or of another version of CUDA. pytorch.org/get-started names them.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3013
RUN python3 -m venv "$VENV" && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"
WORKDIR /opt/nes2net
COPY pyproject.toml constraints.txt README.md LICENSE ./

FROM torch AS server-environment

COPY nes2net nes2net
# compileall fails for the few files of libraries that newer versions of Python need.
RUN pip install --constraint constraints.txt ".[serve,listen,onnx]" && { python -m compileall -q -j 0 "$VENV/lib" || true; }

FROM python AS serve

COPY --from=server-environment /opt/venv /opt/venv
USER 1000
RUN nes2net --version
WORKDIR /work
EXPOSE 7860
# Loading a detector takes up to minutes. `nes2net listen --serve 0.0.0.0:7860` answers the same check.
HEALTHCHECK --interval=30s --timeout=10s --start-period=5m \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health')"]
ENTRYPOINT ["nes2net", "serve", "--host", "0.0.0.0", "--port", "7860"]
CMD ["--help"]

FROM torch AS full

# What the demonstration needs: recorded prompts, speech synthesisers, a compiler for pyworld.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY scripts/demonstration/packages.sh scripts/demonstration/
RUN bash scripts/demonstration/packages.sh && rm -rf /var/lib/apt/lists/*
# The other libraries, beside an empty package, and their bytecode, which users could not write. They are installed again
# only if pyproject.toml or the versions of constraints.txt change.
COPY scripts/environment.sh scripts/
RUN mkdir nes2net && touch nes2net/__init__.py && bash scripts/environment.sh test \
    && { python -m compileall -q -j 0 "$VENV/lib" || true; } && chown nes2net .
COPY --chown=nes2net . .
USER 1000
RUN nes2net --version
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["nes2net"]
CMD ["--help"]
