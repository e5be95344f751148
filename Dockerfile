# docker build -t reviver .      docs/install.md says how it is run.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv ca-certificates
RUN python3 -m venv /opt/reviver
COPY requirements/runtime.txt /src/requirements/
RUN /opt/reviver/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /src/requirements/runtime.txt
COPY pyproject.toml README.md LICENSE /src/
COPY daemon /src/daemon
RUN /opt/reviver/bin/pip install --no-cache-dir --no-deps /src \
 && /opt/reviver/bin/pip check \
 && /opt/reviver/bin/pip uninstall --yes pip setuptools

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
 && useradd --system --uid 7337 --home-dir /var/lib/reviver --shell /usr/sbin/nologin reviver \
 && install -d -o reviver -g reviver -m 700 /var/lib/reviver \
 && install -d /etc/reviver
COPY --from=build /opt/reviver /opt/reviver
ENV PATH=/opt/reviver/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER reviver
# The journal and the control socket: all that is ever written, so --read-only is fine.
VOLUME /var/lib/reviver
EXPOSE 7337
STOPSIGNAL SIGTERM
# "Healthy" says that the daemon answers; how the services are is what it answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["reviver", "status", "--quiet"]
ENTRYPOINT ["reviver"]
CMD ["run", "--config", "/etc/reviver/reviver.toml"]
