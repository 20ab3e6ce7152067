"""The documentation site: `make docs` builds docs/_build/html. Warnings are errors.

The pages are Markdown, the reference comes from the docstrings, and the notebooks are shown as they are stored: nothing
is executed. Nothing of the finished site is loaded from another host.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.nodes import make_refnode

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from daseCV_c import __version__  # noqa: E402

project = "daseCV_c"
copyright = "the authors of daseCV_c"
version = release = __version__
language = "en"

extensions = [
    "myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton", "sphinxarg.ext",
]
exclude_patterns = ["_build", "notebooks/README.md", "answers", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|sklearn)\..*")]  # pages of other hosts
default_role = "autolink"  # `name` in a docstring leads to the page of the name, if there is one

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_typehints = "none"  # types, shapes and dtypes stand in the sections of each docstring
# By name: what `True` finds is what was there at the build before.
autosummary_generate = [f"reference/{path.name}" for path in sorted((HERE / "reference").glob("*.md"))]
numpydoc_show_class_members = False  # the template of classes lists them, each with its text

linkcheck_timeout = 20
linkcheck_retries = 2

html_theme = "pydata_sphinx_theme"
html_title = "daseCV_c"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}

# Links of the pages to files outside this folder, which the site has as pages too.
OUTSIDE = {
    "CONTRIBUTING": "project/contributing", "CHANGELOG": "project/changelog", "SECURITY": "project/security",
    "README.zh-CN": "zh/index", "README": "index",
}
_LINK = re.compile(r"\]\((?:\.\./)+(?:src/(\w+)/README|(" + "|".join(map(re.escape, OUTSIDE)) + r"))\.md(#[^)]*)?\)")


def links_of_outside(app, docname, source):
    def inside(match):
        engine, page, anchor = match.groups()
        target = f"project/engines/{engine}" if engine else OUTSIDE[page]
        return f"](/{target}.md{anchor or ''})"
    # The notebooks' README is a part of their index.
    source[0] = _LINK.sub(inside, source[0]).replace("](notebooks/README.md", "](notebooks/index.md")


def name_in_docstring(app, env, node, contnode):
    """`name`: the one page of this name, whatever module it is in; else a word, such as an attribute or a parameter."""
    if node.get("reftype") != "obj":
        return None
    python = env.domains.python_domain
    found = [full for full in python.objects if full.split(".")[-1] == node["reftarget"].split(".")[-1]]
    if len(found) != 1:
        return contnode
    at = python.objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], at.docname, at.node_id, contnode, found[0])


def mathml(self, node):
    """Equations as MathML, which browsers draw by themselves: no script, no fonts, no network."""
    block = isinstance(node, nodes.math_block)
    tex = re.sub(r"(\\hat ?\{?\w\}?)_", r"\1{}_", node.astext())  # else docutils puts the index below the letter
    self.body.append('<div class="math">' if block else "")
    self.body.append(latex2mathml.tex2mathml(tex, as_block=block))
    self.body.append("</div>\n" if block else "")
    raise nodes.SkipNode


def language_of_page(app, pagename, templatename, context, doctree):
    """Browsers choose the fonts by it, and screen readers the voice."""
    if re.match(r"(notebooks/)?zh/", pagename):
        context["language"] = "zh-CN"


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(mathml, None), block_renderers=(mathml, None))
    app.config.html_math_renderer = "mathml"
    app.connect("source-read", links_of_outside)
    app.connect("missing-reference", name_in_docstring)
    app.connect("html-page-context", language_of_page)
