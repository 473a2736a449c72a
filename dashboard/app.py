"""Entry script: ``streamlit run dashboard/app.py``, from anywhere.

Draws what every page shares (navigation, the controls that stand in the URL), then the page.
"""

import sys
from pathlib import Path

# Streamlit puts this script's folder on the path, not the project's root.
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from dashboard import artifacts, contenders, links, notices, view_state  # noqa: E402
from dashboard.cards.actions import keys_help  # noqa: E402

st.set_page_config(
    page_title="CLADO Explorer",
    # A Material icon here would be fetched from Google; a file is served by us.
    page_icon=str(Path(__file__).resolve().parent / "icon.png"),
    layout="wide",
    initial_sidebar_state="collapsed",
)

PAGES = Path(__file__).resolve().parent / "app_pages"
page = st.navigation(
    [
        st.Page(
            PAGES / "explore.py",
            title="Explore",
            icon=":material/tune:",
            default=True,
            help="Choose a budget and see the best bit-widths",
        ),
        st.Page(
            PAGES / "interactions.py",
            title="Interactions",
            icon=":material/grid_on:",
            help="Which layers hurt each other",
        ),
        st.Page(
            PAGES / "compare.py",
            title="Compare",
            icon=":material/compare_arrows:",
            help="Two networks, or two ways to choose",
        ),
        st.Page(
            PAGES / "measure.py",
            title="Measure",
            icon=":material/labs:",
            help="Measure your own network, or upload an artifact",
        ),
        st.Page(
            PAGES / "export.py",
            title="Export",
            icon=":material/download:",
            help="Take the chosen bit-widths away",
        ),
        st.Page(
            PAGES / "method.py",
            title="Method",
            icon=":material/menu_book:",
            help="What is computed, from what, and its limits",
        ),
    ],
    position="top",
)

catalog = artifacts.find()
if not catalog.artifacts and page.url_path == "measure":
    page.run()
    st.stop()
if not catalog.artifacts:
    notices.no_artifact(catalog.problems)
    st.stop()
view_state.controls(catalog, keys_help)
links.join_url(catalog)
notices.note()
notices.unusable(catalog.problems)
if page.url_path == "compare":
    contenders.controls(catalog)
page.run()
artifacts.settle_memory()
