"""The manifests of the packages and the generated parts of the documents.

``python -m tests.packages.ecosystems`` writes them.
"""

import json
from pathlib import Path

from tests.packages.facts import ROOT
from tests.packages.manifests import MANIFESTS
from tests.packages.readme import readme, skill

DOCUMENTS = {"README.md": readme, "skills/wan-video/SKILL.md": skill}
NAMES = (*MANIFESTS, *DOCUMENTS)


def content(name: str) -> str:
    """What a generated file holds; in a document, what a person wrote stays."""
    if name in MANIFESTS:
        return json.dumps(MANIFESTS[name](), indent=2, ensure_ascii=False) + "\n"
    return DOCUMENTS[name]((ROOT / name).read_text("utf-8"))


def main() -> None:
    for name in NAMES:
        file = Path(ROOT, name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(content(name), "utf-8")


if __name__ == "__main__":
    main()
