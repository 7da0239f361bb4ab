"""`yates status --watch`: what runs, what failed and what is held, on one screen however many experiments there are."""
