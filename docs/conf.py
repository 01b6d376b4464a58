"""Sphinx configuration."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import measured
import measured_accuracy
import measured_kubernetes
import measured_scale
import measured_tracking

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


myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_substitutions = {
    "accuracy": measured_accuracy.summary(),
    "accuracy_bars": measured_accuracy.bars(),
    "accuracy_halves": measured_accuracy.halves("aai"),
    "accuracy_made_by": measured_accuracy.measured_on(),
    "accuracy_winners": measured_accuracy.winners(),
    **{f"on_{name}": measured_accuracy.table(name) for name in measured_accuracy.DATASETS},
    "executors": measured.executors(),
    "families": measured.families(),
    "blends": measured.blends(),
    "kubernetes_image": measured_kubernetes.image(),
    "inflation": measured.inflation(),
    "level_shift": measured.level_shift(),
    "overhead": measured.overhead(),
    "scale_bars": measured_scale.bars(),
    "scale_cores": measured_scale.cores(),
    "scale_driver": measured_scale.told_driver(),
    "scale_paper": measured_scale.paper(),
    "scale_runs": measured_scale.runs(),
    "scale_simulated_cores": measured_scale.simulated_cores(),
    "scale_simulated_deaths": measured_scale.simulated_deaths(),
    "scale_simulated_tails": measured_scale.simulated_tails(),
    "scale_stages": measured_scale.stages(),
    "scale_tail": measured_scale.tail(),
    "search": measured.search(),
    "speed": measured.speed(),
    "tracking_once": measured_tracking.once(),
    "tracking_server": measured_tracking.server(),
    "tracking_stores": measured_tracking.stores(),
    "weights": measured.weights(),
}
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"daskcast {release}"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_sidebars = {
    page: []
    for page in (
        "index",
        "tutorial",
        "method",
        "benchmarks",
        "parallel",
        "scale",
        "security",
        "design",
        "changelog",
    )
}
