"""Checkpoints on the Hugging Face Hub. Nothing outside this package imports huggingface_hub."""


class HubError(RuntimeError):
    """What the Hub, the network or the token did not allow: one sentence with the remedy, fit to be shown."""
