"""Training of encoders and rerankers on pairs of texts, from the weights of another model folder."""
