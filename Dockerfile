# A hosted server: README, "In containers", says how to run it.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY wan_mcp wan_mcp
# Bytecode that is never compared with its source: nothing is compiled or written when the server starts.
RUN python -m venv /opt/wan-mcp \
    && /opt/wan-mcp/bin/pip install --no-cache-dir --no-compile ".[http,postgres]" \
    && /opt/wan-mcp/bin/pip uninstall --yes pip \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/wan-mcp/lib

FROM python:3.13-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="wan-mcp" \
      org.opencontainers.image.description="MCP server for a team: videos from pictures or text with Evolink's Wan 2.5" \
      org.opencontainers.image.source="https://github.com/wan-mcp/wan-mcp" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd --gid 10001 wan \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin wan \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/wan-mcp /opt/wan-mcp
ENV PATH="/opt/wan-mcp/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WAN_MCP_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8000
# Not with urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["wan-mcp"]
CMD ["http", "--host", "0.0.0.0", "--port", "8000"]
