# One image for the service and all commands of the project. It runs as a user without rights, and its root file system may
# be read-only.
#
#     docker build -t lesion-segmentation --build-arg PIP_EXTRA_INDEX_URL=<address> .
#
# Without the build argument, pip installs the default build of PyTorch, which on Linux is one for CUDA. For another build, take
# the address from PyTorch's installation page. CUDA builds contain the CUDA libraries; the machine needs the driver and
# NVIDIA's container toolkit.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG PIP_EXTRA_INDEX_URL=
RUN python -m venv /opt/venv
WORKDIR /build
# PyTorch is installed first, because it is the largest package and changes rarely.
COPY requirements.lock ./
RUN grep '^torch==' requirements.lock > torch.txt \
    && /opt/venv/bin/pip install --no-cache-dir -r torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/venv/bin/pip install --no-cache-dir '.[project,serve,scale]' -c requirements.lock

FROM python:${PYTHON}
COPY --from=build /opt/venv /opt/venv
WORKDIR /project
COPY pyproject.toml .telemetry ./
COPY conf conf
# Kedro requires the folders; data and /artifacts are mount points of volumes.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp lesion \
    && mkdir -p src data conf/local /artifacts && chown lesion data /artifacts
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GOMP_SPINCOUNT=1000 DO_NOT_TRACK=true
USER lesion
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["lesion-segmentation", "serve", "--host", "0.0.0.0"]
