"""The in-house models, their tokenizer, engine, backends and checkpoints."""
