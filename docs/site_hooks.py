"""What the site needs beyond the pages: some files from elsewhere, and a little cleaning.

The pages are written to be read on their own, in any viewer of Markdown.
"""
# ruff: noqa: INP001 - called by mkdocs, not imported

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# Where they are in the site, and where in the repository.
FROM_THE_ROOT = {
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "assets/grafana-dashboard.json": "grctl/telemetry/assets/grafana-dashboard.json",
    "assets/prometheus-alerts.yml": "grctl/telemetry/assets/prometheus-alerts.yml",
}

_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the files that lie elsewhere in the repository."""
    for place, source in FROM_THE_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        # A folder is no page: the navigation has it.
        text = re.sub(r"\[([^]]*)\]\(decisions\)", r"\1", text)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Without the comments that carry the hidden parts of examples, and with links of the site."""
    text = _COMMENT.sub("", markdown)
    for place, source in FROM_THE_ROOT.items():
        text = text.replace(f"](../{source}", f"]({place}")
    return text
