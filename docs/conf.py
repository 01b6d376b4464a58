"""Sphinx configuration."""

import json
from importlib.metadata import version as installed
from pathlib import Path

project = "daskcast"
author = "the daskcast developers"
copyright = "2026, the daskcast developers"
release = installed("daskcast")
version = release

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_build", "changelog.d"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False


def executors_table() -> str:
    """Give the table of bench/executors.py, as it was last measured."""
    path = Path(__file__).parent.parent / "bench" / "results" / "executors.json"
    if not path.exists():
        return "It has not been measured for this release."
    found = json.loads(path.read_text())
    few, many, machine = found["few"], found["many"], found["machine"]
    lines = [
        f"| rung | executor | {few} airports | {many} airports | CPU, {many} airports | speed-up |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        name = f"`{row['executor']}`"
        if row["executor"] != "serial":
            name += f" {row['workers']} x {row['threads']}"
        seconds = [row[f"wall_s_{few}"], row[f"wall_s_{many}"], row[f"cpu_s_{many}"]]
        cells = [row["rung"], name, *(f"{x:.1f} s" for x in seconds), f"{row['speedup']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    about = (
        f"Wall seconds of the whole command, imports included, without tracking, the best of "
        f"{found['passes']} passes in turn: "
        f"{machine['cores']} cores ({machine['cpu']}), commit {found['commit']}."
    )
    return "\n".join([*lines, "", about])


myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_substitutions = {"executors": executors_table()}
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"daskcast {release}"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_sidebars = {page: [] for page in ("index", "tutorial", "parallel", "design", "changelog")}
