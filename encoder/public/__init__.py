"""Public generators: GPT-2, T5, BART and Marian from their own folders, over the in-house attention."""
