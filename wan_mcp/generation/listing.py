"""A list of tasks, for models and for people."""

from typing import Annotated, Self

from pydantic import BaseModel, Field

from wan_mcp.evolink.prices import cost_text, dollars
from wan_mcp.evolink.values import iso, spoken
from wan_mcp.generation.status import LINK_LIFE_TEXT, link_expiry, link_state
from wan_mcp.ledger import Entry, EntryStatus

PROMPT_SHOWN = 60
"""Characters of a prompt: enough to tell requests apart."""


class TaskLine(BaseModel):
    """One request or task."""

    id: Annotated[str | None, Field(description="Absent while unknown")] = None
    status: EntryStatus
    asked: str
    """When, for a person."""
    asked_at: Annotated[str, Field(description="ISO 8601, UTC")]
    """Both are empty where the ledger holds no time that can be shown."""
    prompt: str | None = None
    """Its beginning; absent for tasks made elsewhere."""
    take: int | None = None
    continues: Annotated[str | None, Field(description="Task whose last frame it begins with")] = None
    part: int | None = None
    duration: Annotated[int | None, Field(description="Seconds")] = None
    quality: str | None = None
    picture: Annotated[str | None, Field(description="File name or host")] = None
    from_text: Annotated[bool | None, Field(description="True: there is no picture")] = None
    progress: float | None = None
    saved_to: Annotated[str | None, Field(description="Path")] = None
    missing: Annotated[str | None, Field(description="Path of a file that is gone")] = None
    link: Annotated[str | None, Field(description="Until when it works, or when it expired")] = None
    expires_at: Annotated[str | None, Field(description="ISO 8601, UTC")] = None
    results: list[str] | None = None
    """Links that work."""
    kept_until: Annotated[str | None, Field(description="ISO 8601, UTC; absent: not kept")] = None
    credits: Annotated[float, Field(description="Used, else reserved, else estimated")]
    dollars: str
    error: str | None = None

    @classmethod
    def of(cls, entry: Entry, now: float) -> Self:
        """The line of a row.

        Args:
            entry: the row, without a saved video whose file is gone.
            now: Unix seconds.
        """
        task = entry.task
        links = list(task.results) if task and task.status == "completed" else []
        expires = link_expiry(entry) if links else None
        if entry.link is not None:  # to the video that a hosted server keeps
            links, expires = [entry.link.url], entry.link.expires_at
        return cls(
            id=task.id if task else None,
            status=entry.status,
            asked=spoken(entry.asked_at, now),
            asked_at=iso(entry.asked_at) or "",
            prompt=_shortened(entry.prompt) or None,
            take=entry.take if entry.is_request else None,
            continues=entry.parent,
            part=entry.part if entry.parent else None,
            duration=entry.duration if entry.is_request else None,
            quality=entry.quality if entry.is_request else None,
            picture=entry.image.name if entry.image else None,
            from_text=entry.from_text or None,
            progress=task.progress if task and not task.is_over else None,
            saved_to=entry.saved.path if entry.saved else None,
            missing=entry.missing,
            link=None if expires is None else link_state(expires, now),
            expires_at=iso(expires),
            results=(links if expires is None or expires > now else None) or None,
            kept_until=iso(entry.kept_until),
            credits=entry.cost,
            dollars=dollars(entry.cost),
            error=task.error.code if task and task.error else None,
        )

    @property
    def is_awaited(self) -> bool:
        """Whether its video, or the link to it, is still to come."""
        has_video = self.results or self.link or self.is_saved
        return self.status in ("pending", "processing") or (self.status == "completed" and not has_video)

    @property
    def is_saved(self) -> bool:
        """Whether its video is saved in a file, or kept in storage."""
        return self.saved_to is not None or self.kept_until is not None

    @property
    def is_gone(self) -> bool:
        """Whether its video is lost: not saved, and its link has expired."""
        return self.link is not None and not self.results and not self.is_saved

    def __str__(self) -> str:
        percent = f" {self.progress:g} %" if self.progress is not None else ""
        error = f" ({self.error})" if self.error else ""
        cost = cost_text(self.credits)
        prompt = f'"{self.prompt}"' if self.prompt else "made elsewhere" if self.take is None else ""
        prompt += f" from {self.picture}" if self.picture else " from text" if self.from_text else ""
        saved = f"saved: {self.saved_to}" if self.saved_to else ""
        saved = f"no longer at {self.missing}" if self.missing else saved
        links = [f"link: {link} ({self.link or LINK_LIFE_TEXT})" for link in self.results or ()]
        dead = f"link: {self.link}" if self.link and not self.results else ""
        head = f"{self.id or '(no id yet)'} {self.status}{percent}{error}, {self.asked}".removesuffix(", ")
        facts = facts_text(self.duration, self.quality, self.take, cost, self.part, self.continues)
        kept = f"kept until {self.kept_until}" if self.kept_until else ""
        return "\n  ".join(filter(None, [head, prompt, facts, saved, *links, dead, kept]))


def facts_text(
    duration: int | None,
    quality: str | None,
    take: int | None,
    cost: str,
    part: int | None,
    continues: str | None,
) -> str:
    """What was requested and what it costs, in a line; what is not known is left out."""
    said = [f"{duration} s" if duration else "", quality or "", f"take {take}" if take else "", cost]
    said.append(f"part {part}, continues {continues}" if continues else "")
    return ", ".join(filter(None, said))


def _shortened(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= PROMPT_SHOWN else line[: PROMPT_SHOWN - 1] + "…"
