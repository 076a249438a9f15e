"""What stands between the app and strangers: limits, and HTTP for programs. No Streamlit."""
