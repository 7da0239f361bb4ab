"""The study of quantized pre-training (Chitsaz et al., arXiv 2407.11722): its tables, figures and findings."""
