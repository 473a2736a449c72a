"""Entry: ``streamlit run dashboard/app.py``, from anywhere.

Streamlit imports this file once to make the server's application, and runs it as a script for
every visit to draw the page.
"""

import sys
from pathlib import Path

# Streamlit puts this script's folder on the path, not the project's root.
ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from streamlit.runtime.scriptrunner import get_script_run_ctx  # noqa: E402

if get_script_run_ctx(suppress_warning=True) is None:
    from dashboard import server

    app = st.App(
        __file__, lifespan=server.lifespan, routes=server.ROUTES, middleware=server.MIDDLEWARE
    )
else:
    from dashboard import shell

    shell.draw()
