"""PPO with low-rank adapters: the small parts of its loop (LoRA PPO study, sections 5 and 6).

Shapes: a rollout has `episodes` rows and `tokens` columns, one column for each token of a response, padded on the
right; a mask (bool, same shape) is true up to and including the end mark. Log-probabilities and divergences are in
nats.
"""
