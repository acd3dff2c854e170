# Worker, migrations, dashboard and command line in one image.
#
#   docker build -t grctl .
#   docker build --target example -t grctl-example .     with the workflows of examples/ in it
#   docker build --build-arg PYTHON=3.12 -t grctl .
#
# Where PyPI cannot be reached: put the wheels into deploy/wheelhouse (deploy/make-wheelhouse), and
#   docker build --build-arg PIP_NO_INDEX=1 -t grctl .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG PIP_NO_INDEX
ENV PIP_FIND_LINKS=/wheelhouse PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# README.md, so that the copy succeeds without a wheelhouse.
COPY README.md deploy/wheelhouse* /wheelhouse/
RUN python -m venv /opt/grctl
WORKDIR /src
# The dependencies first: a change of the code alone leaves this layer as it is.
COPY pyproject.toml ./
RUN python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
print(*project['dependencies'], *extras['fast'], *extras['metrics'], *extras['otel'], *extras['web'], sep='\n')" \
        > requirements.txt \
    && /opt/grctl/bin/pip install --quiet -r requirements.txt
COPY README.md LICENSE alembic.ini ./
COPY migrations migrations
COPY grctl grctl
RUN /opt/grctl/bin/pip install --quiet --no-deps . \
    && /opt/grctl/bin/python -m compileall -q /opt/grctl

FROM python:${PYTHON}-slim AS runtime
RUN /usr/sbin/useradd --system --uid 10001 --user-group --home-dir /app --shell /usr/sbin/nologin grctl
COPY --from=build /opt/grctl /opt/grctl
ENV PATH=/opt/grctl/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GRCTL_LOG_FORMAT=json \
    GRCTL_METRICS_PORT=9464 \
    GRCTL_METRICS_HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
# grctl is process 1 and gets the signal itself: it drains, see docs/worker.md.
STOPSIGNAL SIGTERM
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["grctl"]
CMD ["worker"]

FROM runtime AS example
COPY examples examples
CMD ["worker", "examples.order", "examples.approval"]

# What is built where no target is named.
FROM runtime
