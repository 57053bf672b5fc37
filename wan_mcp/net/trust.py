"""The certificates to trust: read once for all connections, because that takes tens of milliseconds."""

import ssl

import anyio
import anyio.to_thread
import httpx2

UNUSABLE = "The proxy or the certificates that the environment names cannot be used."
CHECK_THEM = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."


class Trust:
    """The certificates that this system, or the environment, says to trust."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._reading = anyio.Lock()

    async def context(self) -> ssl.SSLContext:
        """Read the certificates when they are first needed, in a thread.

        Raises:
            OSError: when ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be used.
        """
        async with self._reading:
            if self._context is None:
                self._context = await anyio.to_thread.run_sync(httpx2.create_ssl_context)
            return self._context
