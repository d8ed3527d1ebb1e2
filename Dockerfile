# Every process of Linkspan, and both reference systems, are this one image: docs/deployment.md.
FROM python:3.13-slim AS base

FROM base AS dependencies
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY
ENV PYTHONHASHSEED=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-runtime.lock ./
# Only wheels: there is no compiler in any stage. What packages bring for developers (commands, tests, C sources) is left out.
# The date is the first that a Zip file knows, so that the layer is the same whenever it is made.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/root/.config/pip/pip.conf \
    python -m venv --without-pip /opt/linkspan \
 && python -m pip --python /opt/linkspan install --quiet --no-compile --only-binary :all: --require-hashes -r requirements-runtime.lock \
 && find /opt/linkspan/bin -type f -delete \
 && find /opt/linkspan/lib -depth \( -name tests -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -exec rm -rf {} + \
 && python -m compileall -q -f -j 1 --invalidation-mode unchecked-hash /opt/linkspan/lib \
 && mkdir -p /made/opt && mv /opt/linkspan /made/opt/ && ln -s /made/opt/linkspan /opt/linkspan \
 && find /made -exec touch -h -d @315532800 {} +

FROM dependencies AS application
COPY requirements-build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip.conf,target=/root/.config/pip/pip.conf \
    python -m pip install --quiet --only-binary :all: --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY schemas schemas
COPY services services
COPY deploy/image/healthcheck.py ./
ARG SOURCE_DATE_EPOCH=315532800
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && python -m pip --python /opt/linkspan install --quiet --no-compile --no-deps --no-index dist/linkspan-*.whl \
 && site=$(/opt/linkspan/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && python -m compileall -q -f -j 1 --invalidation-mode unchecked-hash "$site/linkspan" \
 && install -m 755 healthcheck.py /opt/linkspan/bin/healthcheck \
 && mkdir -p /new/opt/linkspan/bin "/new$site" \
 && cp -a /opt/linkspan/bin/linkspan /opt/linkspan/bin/healthcheck /new/opt/linkspan/bin/ \
 && cp -a "$site/linkspan" "$site"/linkspan-*.dist-info "/new$site/" \
 && find /new -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM base AS runtime
# No installer and no setuid program is left in it. The directories are there so that a new volume belongs to the user.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip \
 && echo 'linkspan:x:10001:10001:Linkspan:/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'linkspan:x:10001:' >>/etc/group \
 && install -d -o 10001 -g 10001 -m 750 /data /blobs \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && touch -d @315532800 / /etc/passwd /etc/group /data /blobs /usr/local/bin /usr/local/lib/python3.* \
      /usr/local/lib/python3.*/site-packages
COPY --from=dependencies /made /
COPY --from=application /new /
ENV PATH=/opt/linkspan/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LINKSPAN_HOST=0.0.0.0 \
    LINKSPAN_PORT=8080 \
    LINKSPAN_DATA=/data \
    LINKSPAN_BLOBS=/blobs
WORKDIR /data
USER 10001:10001
EXPOSE 8080 50051
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["healthcheck", "/live"]
ENTRYPOINT ["linkspan"]
CMD ["--help"]
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title="Linkspan" \
      org.opencontainers.image.description="A bridge between two systems that loses nothing: Avro events in Kafka, ordered delivery, safe replay." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
