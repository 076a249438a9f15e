"""The router: titles and order of the pages, in sections on top. No widgets, no state; every page also stands alone.

`streamlit run` imports this file once for its server, which takes `app`, and runs it as a script for each visitor."""

import streamlit as st

if __name__ == "__main__":
    from infoflow.ui import cache, frame

    PAGES = {
        "Look": [
            st.Page("pages/start.py", title="Start"),
            st.Page("pages/information_flow.py", title="Information flow", default=True),
            st.Page("pages/answer.py", title="Answer"),
            st.Page("pages/attention.py", title="Attention"),
            st.Page("pages/logit_lens.py", title="Logit lens"),
            st.Page("pages/activations.py", title="Activations"),
            st.Page("pages/generation.py", title="Generation"),
        ],
        "Change": [
            st.Page("pages/interventions.py", title="Interventions"),
            st.Page("pages/circuits.py", title="Circuits"),
            st.Page("pages/patching.py", title="Patching"),
            st.Page("pages/corrections.py", title="Corrections"),
        ],
        "Keep": [
            st.Page("pages/compare.py", title="Compare"),
            st.Page("pages/sessions.py", title="Sessions"),
            st.Page("pages/batch.py", title="Many prompts"),
        ],
        "Models": [
            st.Page("pages/models.py", title="Models"),
            st.Page("pages/owner.py", title="Owner", visibility="visible" if cache.for_this_machine_alone() else "hidden"),
        ],
    }
    st.navigation(PAGES, position="top").run()
    frame.settle()
else:
    from infoflow.ui import serving

    app = st.App(__file__, **serving.parts())
