"""Adapting an open_clip model to a collection: LoRA or full fine-tuning, learned prompts."""
