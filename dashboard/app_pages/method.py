"""method."""

import streamlit as st

st.write("method")
