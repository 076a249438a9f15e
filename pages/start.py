"""How does a prompt become a prediction? Five stops, for who has never seen a residual stream."""

import streamlit as st

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.charts import signed
from infoflow.pictures import attention as attention_pictures
from infoflow.pictures import flow as flow_pictures
from infoflow.pictures import logit_lens as lens_pictures
from infoflow.summaries.attention import best_head
from infoflow.tables import attention as attention_tables
from infoflow.tables import start as tables
from infoflow.text.examples import PRESETS
from infoflow.ui import blocks, frame, results
from infoflow.ui import start as ui

NAME = "Start"
head = frame.page(NAME, ui.INTRO)
dark, prompt = frame.dark(), PRESETS[0].prompt
request = FlowRequest(prompt=prompt)
result = results.last_good(NAME, request, "")
if result is None:
    st.stop()
frame.shown(head, *result)
flow = result[1].result
prediction, attention, stream, fed, raised = ui.stops()
with prediction:
    likely = tables.next_tokens(flow)
    says = f"Likely next tokens. {blocks.largest(likely, 'name', 'probability')}"
    blocks.chart(signed.ranking(likely, "probability", ".1%", dark), key="start_next", alt=says)
with fed:
    blocks.chart(flow_pictures.picture(flow, dark).chart, key="start_flow", alt=f"What positions are made of. {flow.summary()}")
with raised:
    parts = tables.raised(flow)
    says = f"What raised the answer. {blocks.largest(parts, 'label', 'logit', '+.2f')}"
    blocks.chart(signed.columns(parts, title="logit", dark=dark), key="start_raised", alt=says)
for place, stop in zip((prediction, fed, raised), (0, 3, 4), strict=True):
    with place:
        ui.link(ui.STOPS[stop])
with attention, blocks.reporting_errors():
    attn = results.of(AttentionRequest(prompt=prompt), "", "start_attention")
    layer, number = best_head(attn)
    found = attention_tables.view(attn, attention_tables.Level.HEAD, layer, number, "pattern", attention_tables.Sink.SHOWN)
    drawn = attention_pictures.attention_map(attn, found, dark=dark)
    blocks.chart(drawn.chart, key="start_attention", alt=f"Attention, {found.title}. {attn.summary()}")
    ui.link(ui.STOPS[1], layer=str(layer), head=str(number))
with stream, blocks.reporting_errors():
    lens = results.of(LensRequest(prompt=prompt, mids=False), "", "start_lens")
    says = f"The likeliest next token by row and position. {lens.summary()}"
    blocks.chart(lens_pictures.picture(lens, dark).chart, key="start_lens", alt=says)
    ui.link(ui.STOPS[2])
