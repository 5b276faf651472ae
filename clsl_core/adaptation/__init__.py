"""Adapting an open_clip model to a collection: LoRA or full fine-tuning, learned prompts.

Others use `finetune.finetune` with its `tower.Tower`, and `prompts.learn_context`.
"""
