"""The certificates that are trusted: read once for all connections, since that takes tens of milliseconds."""

import ssl

import anyio
import anyio.to_thread
import httpx2

UNUSABLE = "The proxy or the certificates that the environment names cannot be used."
CHECK_THEM = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."


class Trust:
    """What this system, or the environment, says which certificates to trust."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._reading = anyio.Lock()

    async def context(self) -> ssl.SSLContext:
        """Read them when they are first needed, beside the event loop.

        Raises:
            OSError: when ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be used.
        """
        async with self._reading:
            if self._context is None:
                self._context = await anyio.to_thread.run_sync(httpx2.create_ssl_context)
            return self._context
