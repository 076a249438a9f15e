# The app for strangers, without a GPU, with the bundled model: docs/deploying.md says how it is run, read-only and within limits.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS built
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /opt/venv
COPY requirements.txt ./
COPY deploy/requirements.txt deploy/
RUN /opt/venv/bin/pip install --quiet -r deploy/requirements.txt
COPY streamlit_app.py ./
COPY .streamlit/config.toml .streamlit/
COPY pages pages
COPY infoflow infoflow
RUN /opt/venv/bin/python -m compileall -q infoflow pages

FROM python:${PYTHON}-slim-bookworm
# 1000 is who Hugging Face Spaces runs an image as
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin infoflow
COPY --from=built /opt/venv /opt/venv
COPY --from=built /app /app
WORKDIR /app
# all that is written at all goes to /tmp, which may be memory; the rest may be read-only
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    INFOFLOW_HOSTED=1 \
    INFOFLOW_MODELS=demo \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HUB_OFFLINE=1
USER 1000
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "streamlit_app.py", "--server.address=0.0.0.0", "--server.port=8501", "--server.headless=true"]
