"""An S3 service on this machine: moto, in a process of its own."""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from threading import Thread

BUCKET = "videos"
_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


@dataclass(frozen=True)
class S3:
    """A service that runs, with one empty bucket."""

    address: str
    storage_url: str = f"s3://{BUCKET}/wan"

    @property
    def environ(self) -> dict[str, str]:
        """What an operator sets to sign in."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def refuse_after(self, requests: int) -> None:
        """Check keys from so many requests on; the service knows none, so it refuses them all."""
        self._post("moto-api/reset-auth", str(requests).encode())

    def _post(self, path: str, body: bytes, method: str = "POST") -> None:
        headers = {"Authorization": _SIGNED, "Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.address}/{path}", body, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60):
            pass

    def make_bucket(self) -> None:
        """Make the bucket."""
        self._post(BUCKET, b"", "PUT")


@contextmanager
def running_s3() -> Iterator[S3]:
    """The service while this block runs."""
    program = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
    environ = os.environ | {"PYTHONUNBUFFERED": "1", "MOTO_S3_CUSTOM_ENDPOINTS": ""}
    with Popen(
        [sys.executable, "-c", program], stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, env=environ
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if "Running on " in line:
                    break
            address = said[-1].partition("Running on ")[2].split()[0]
            Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
            s3 = S3(address)
            s3.make_bucket()
            yield s3
        finally:
            process.terminate()
