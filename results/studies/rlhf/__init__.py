"""The LoRA PPO study (Sun, Gupta and Iyyer, arXiv 2309.09055): its tables, figures and findings."""
