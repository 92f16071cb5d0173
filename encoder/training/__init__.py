"""Training of encoders on pairs of texts, from the weights of another model folder."""
