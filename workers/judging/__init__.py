"""Judging kept answers: who judges, what is asked, and what the verdicts come to."""
