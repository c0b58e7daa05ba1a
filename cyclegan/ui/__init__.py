"""The app: its pages, one file each, and what they share."""

import os

# Read by gradio and huggingface_hub as they are imported: nothing is reported to anyone.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

try:
    import spaces  # Of the Hub's Spaces; it rearranges torch, so it has to come before that.
except ImportError:
    spaces = None
