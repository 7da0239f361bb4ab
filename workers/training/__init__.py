"""Training: TRL's and transformers' trainers with a thin mixin that makes them exact, stoppable and cheap to
start.
"""
