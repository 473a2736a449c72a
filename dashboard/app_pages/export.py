"""export."""

import streamlit as st

st.write("export")
