"""Sphinx: how `make docs` builds the documentation site. It needs no network."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import ppo  # noqa: E402

project, release, author, html_title = "ppo", ppo.__version__, "the ppo authors", f"ppo {ppo.__version__}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
myst_heading_anchors = 3  # as a code host makes them: page.md#a-heading
myst_enable_extensions = ["deflist"]
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False

html_theme, html_static_path, html_css_files = "furo", ["_static"], ["site.css"]
html_show_sphinx, html_show_copyright, html_copy_source, smartquotes = False, False, False, False
ACCENT = {"light": "#0b6e75", "dark": "#4fc3cb"}
html_theme_options = {
    f"{theme}_css_variables": {"color-brand-primary": colour, "color-brand-content": colour}
    for theme, colour in ACCENT.items()
}
