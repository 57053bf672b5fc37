"""Text for the model about the videos that a hosted server keeps."""

from wan_mcp.errors import StillUnderWay, StorageError
from wan_mcp.evolink.values import spoken
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.status import TaskSnapshot, link_state
from wan_mcp.server.told import told

NEW_LINK = "get_task gives a new one"


def keeping(deployment: Deployment) -> str:
    """What a hosted server does with a video, for a model."""
    days = _days(deployment)
    if deployment.follows:
        return f"This server keeps each video for {days}; when a link has expired, {NEW_LINK}."
    if deployment.keeps:
        return (
            f"When wait_for_task sees the end, this server keeps the video for {days}; when a link has "
            f"expired, {NEW_LINK}. Evolink's own links expire after 24 hours."
        )
    return (
        f"Evolink's links expire after 24 hours: save_video keeps a video on this server for {days}, and "
        "get_task gives a new link."
    )


def kept(snapshot: TaskSnapshot) -> list[str]:
    """Where a kept video is."""
    if snapshot.link is not None:
        state = link_state(snapshot.link.expires_at, snapshot.now)
        return [f"Tell the user: the video is ready at {snapshot.link.url} (the link {state}; {NEW_LINK})."]
    said = ["Tell the user: the video is kept on this server, but no link to it can be made now."]
    if snapshot.links:
        state = link_state(snapshot.expires_at, snapshot.now)
        said.append(f"Evolink's link is {snapshot.links[0]} (it {state}).")
    return [*said, f"Call get_task with task_id {snapshot.task.id} in a minute for a link."]


def kept_until(snapshot: TaskSnapshot) -> str:
    moment = spoken(snapshot.kept_until, snapshot.now)
    return f"This server keeps it until {moment}." if moment else ""


def unkept(snapshot: TaskSnapshot, deployment: Deployment) -> str:
    """What becomes of a video that a hosted server does not keep yet."""
    error, of = snapshot.save_error, f"with task_id {snapshot.task.id}"
    if isinstance(error, StorageError):
        return f"{told(error, deployment)[0]} {not_yet(deployment, of)}"
    if isinstance(error, StillUnderWay) or (error is None and deployment.follows):
        return f"It is being kept on this server. Call wait_for_task {of} for a link that works longer."
    if error is None:
        return f"It is not kept on this server yet: call save_video {of} to keep it for {_days(deployment)}."
    message, advice = told(error, deployment)
    again = "" if "save_video" in advice else f"Call save_video {of} to try again."
    return " ".join(filter(None, [f"It could not be kept on this server: {message}", advice, again]))


def not_yet(deployment: Deployment, of: str) -> str:
    """When a video will be kept although storage fails now."""
    if deployment.follows:
        then = "the server tries again for a day, so get_task may have a link that works longer later"
    else:
        then = f"call wait_for_task {of} again in a few minutes, within a day"
    return f"The video cannot be kept yet: {then}. Until then, only Evolink's link works."


def _days(deployment: Deployment) -> str:
    return f"{deployment.kept_days:g} day{'' if deployment.kept_days == 1 else 's'}"
