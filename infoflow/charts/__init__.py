"""Tables to charts: pure functions from a DataFrame to an `alt.Chart`. No Streamlit, no torch."""
