"""Everything that pages share and that knows Streamlit: inputs, cached runs, blocks of the page."""
