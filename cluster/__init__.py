"""Where bundles run: backends and the profiles of clusters."""
