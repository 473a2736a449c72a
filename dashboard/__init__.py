"""The dashboard: pages over ``clado_core``, started with ``streamlit run dashboard/app.py``."""
