"""Whether a video plays: ``python tests/packages/plays.py demo.mp4`` decodes every frame of it."""

import sys

import av


def main(path: str) -> None:
    with av.open(path) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == 120, f"{frames} frames instead of 120"
    sys.stdout.write(f"{path}: {frames} frames\n")


if __name__ == "__main__":
    main(sys.argv[1])
