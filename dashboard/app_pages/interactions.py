"""interactions."""

import streamlit as st

st.write("interactions")
