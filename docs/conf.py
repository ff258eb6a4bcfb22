"""How Sphinx builds these pages: `sphinx-build -W -b html docs docs/_build`."""

project = "weavelet"
copyright = "the weavelet authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "weavelet"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 2
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
