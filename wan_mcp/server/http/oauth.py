"""Placeholder until the part that checks tokens is merged."""

from dataclasses import dataclass

from wan_mcp.settings import Settings


@dataclass(frozen=True)
class Claims:
    issuer: str
    subject: str
    scopes: tuple[str, ...]
    expires_at: int


class Tokens:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def claims(self, token: str) -> Claims | None:
        return None

    async def aclose(self) -> None: ...
