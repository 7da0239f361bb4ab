"""The alignment study (Thakkar et al., arXiv 2406.04879v1): its tables T2 to T6, figures F1 to F6 and findings."""
