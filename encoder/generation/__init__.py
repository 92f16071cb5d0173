"""Search over any model that gives the next token's log probabilities: numpy alone, no model in sight."""
