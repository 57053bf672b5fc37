"""A prompt that helps to write a prompt."""

from typing import Annotated

from mcp.server import MCPServer
from pydantic import Field

from wan_mcp.evolink import PROMPT_MAX
from wan_mcp.generation.service import Services
from wan_mcp.server.text import PRICE

GUIDE = """\
Make a short video from this picture: {image}
What it should show: {idea}

First write the prompt for generate_video. The picture is the first frame, so do not describe what can
be seen in it anyway; describe what happens next:

1. Subject: who or what moves, in the words that single it out in the picture ("the woman in the red coat").
2. Motion: one main action that fits into the seconds there are, as a verb with its manner ("turns her
   head slowly towards the window"). In 5 seconds one thing can happen, in 10 two after one another.
3. Surroundings: what moves by itself: hair, leaves, water, smoke, light, people far behind.
4. Camera: one move at most, named plainly: "static camera", "slow push in", "pan to the left",
   "camera circles the car". Say "static camera" when the subject's motion is what counts.
5. Pace and mood: slow, calm, sudden, playful; the light if it changes.

Avoid: several scenes or cuts, texts that have to be legible, things that must enter from outside the
frame, exact counts, negations ("no people": say what is there instead), and adjectives without motion.
Keep to the language of the user's idea, in whole sentences, {limit} characters at most; 30 to 80 words
work best. The service may rewrite the prompt to make it richer; set prompt_extend to false when each word
counts.

Then show the user the prompt and what it costs: {price}; 10 seconds cost
double, 1080p 1.67 times as much, 480p half. Call generate_video once, wait with wait_for_task until
the task is over, and tell the user where the video is; save_video saves one that is not saved yet.
"""


def add_prompts(server: MCPServer[Services]) -> None:
    """Offer the prompts."""

    @server.prompt(
        name="animate_image",
        title="Animate a picture",
        description="Write a good motion prompt for a picture, then make, wait for and save the video.",
    )
    def animate_image(
        image: Annotated[str, Field(description="Address or path of the picture")],
        idea: Annotated[str, Field(description="What the video should show, in a few words")],
    ) -> str:
        return GUIDE.format(image=image, idea=idea, limit=f"{PROMPT_MAX:,}", price=PRICE)
