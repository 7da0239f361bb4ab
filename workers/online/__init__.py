"""Online methods beside PPO that learn from the same reward model: TRL's RLOO and GRPO, and best-of-n sampling."""
